// What the user sees of a run on standard error: a progress line on a terminal, plain lines in a pipe. Rank 0.
#pragma once
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

namespace switchyard {

class Progress {
 public:
  // terminal: one line that changes; else whole lines
  Progress(int64_t update, int64_t max_update, bool terminal = ::isatty(STDERR_FILENO),
           std::ostream& out = std::cerr)
      : first_(update), update_(update), max_update_(max_update), terminal_(terminal), out_(out) {}
  ~Progress();                                              // the progress line stays on the screen
  void update(double loss_bits, double tokens_per_second);  // after each update
  void record(const nlohmann::json& r);                     // of kind train or valid

 private:
  using Clock = std::chrono::steady_clock;
  std::string line_of(const nlohmann::json& record) const;
  void clear_line();

  int64_t first_, update_, max_update_;
  bool terminal_;
  std::ostream& out_;
  Clock::time_point started_ = Clock::now(), shown_{};
  bool line_open_ = false;
};

std::string format_duration(double seconds);  // 1:02:03

}  // namespace switchyard
