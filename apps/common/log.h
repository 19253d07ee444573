// log.jsonl (one JSON record for each line, keys in docs/formats.md) and what the user sees meanwhile:
// a progress line on a terminal, plain lines in a pipe. Rank 0 only.
#pragma once
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "apps/common/append_file.h"

namespace switchyard {

class RunLog {
 public:
  // resume_update: keep what is there up to this update and go on behind it; -1 = start anew
  RunLog(const std::string& path, int64_t resume_update);
  void write(
      const nlohmann::json& record);  // flushed; on a full disk counted as lost, never an error
  void sync() { file_.sync(); }       // on disk

 private:
  AppendFile file_;
};

int terminal_width();  // of standard error; 0 = not a terminal

class Progress {
 public:
  // width 0: whole lines instead of one that changes
  Progress(int64_t update, int64_t max_update, int width = terminal_width(),
           std::ostream& out = std::cerr)
      : first_(update), update_(update), max_update_(max_update), width_(width), out_(out) {}
  void update(double loss_bits, double tokens_per_second);  // after each update
  void record(const nlohmann::json& r);  // a record of kind train, valid, ...: one line for people
  void finish();                         // leaves the progress line on the screen

 private:
  using Clock = std::chrono::steady_clock;
  std::string eta() const;
  void clear_line();

  int64_t first_, update_, max_update_;
  int width_;
  std::ostream& out_;
  Clock::time_point started_ = Clock::now(), shown_{};
  bool line_open_ = false;
};

std::string format_duration(double seconds);  // 1:02:03

}  // namespace switchyard
