// log.jsonl (one JSON record for each line, keys in docs/formats.md) and its numbers as TensorBoard events in
// tb/, which is a copy: it is made anew from log.jsonl whenever a run starts. Rank 0 only.
// A full disk never stops a run: records go in whole or not at all, and what is lost is counted and said.
#pragma once
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "apps/common/tensorboard.h"
#include "dist/runtime.h"
#include "nn/checkpoint_files.h"
#include "tensor/check.h"

namespace switchyard {

class RunLog {
 public:
  using json = nlohmann::json;

  // Goes on behind the records up to `update` that an earlier run left in the run folder.
  RunLog(const std::string& folder, int64_t update) : path_(folder + "/log.jsonl") {
    std::string kept, events = tensorboard::tfrecord(tensorboard::version_event(now()));
    std::istringstream lines(std::filesystem::exists(path_) ? read_text(path_) : "");
    for (std::string line; std::getline(lines, line);) {
      const json record = json::parse(line, nullptr, false);  // not one: a line torn by a crash
      const json at = record.is_object() ? record.value("update", json(0)) : json();
      if (!at.is_number() || at > update) continue;
      kept += line + "\n";
      events += events_of(record);
    }
    write_durably(path_, kept);
    file_ = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
    user_check(file_ >= 0, concat("cannot write '", path_, "': ", std::strerror(errno)));
    events_.open(event_file(folder + "/tb"), std::ios::binary);
    events_ << events << std::flush;
  }
  ~RunLog() {
    if (lost_ > 0) std::cerr << "warning: " << path_ << " lacks " << lost_ << " records\n";
    ::close(file_);
  }
  RunLog(const RunLog&) = delete;

  // Adds the time; on disk when it returns.
  void write(json record) {
    record["time"] = now();
    const std::string line = record.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
    const off_t end = ::lseek(file_, 0, SEEK_END);
    if (::write(file_, line.data(), line.size()) == ssize_t(line.size()) && ::fsync(file_) == 0) {
      events_ << events_of(record) << std::flush;
      return;
    }
    if (lost_++ == 0)
      std::cerr << "warning: writing '" << path_ << "' fails (" << std::strerror(errno)
                << "); the run goes on without these records\n";
    (void)!::ftruncate(file_, end);  // no torn record in front of later ones
  }

 private:
  static double now() {  // seconds since 1970
    const auto time = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration<double>(time).count();
  }

  // A new event file as the only one: TensorBoard reads all that it finds.
  static std::string event_file(const std::string& folder) {
    std::error_code error;
    std::filesystem::remove_all(folder, error);
    std::filesystem::create_directories(folder, error);
    user_check(!error, concat("cannot create folder '", folder, "': ", error.message()));
    return concat(folder, "/events.out.tfevents.", int64_t(now()), ".", dist::host_name());
  }

  // The numbers of a record; those of "ms" as "ms_step", ...
  static std::string events_of(const json& record) {
    std::string events;
    const auto add = [&](const std::string& name, const json& value) {
      if (value.is_number() && name != "update" && name != "time")
        events += tensorboard::tfrecord(
            tensorboard::scalar_event(record.value("time", 0.0), record.value("update", int64_t(0)),
                                      record.value("kind", "note") + "/" + name, value));
    };
    for (const auto& [name, value] : record.items()) add(name, value);
    const json times = record.value("ms", json::object());
    for (const auto& [part, value] : times.items()) add("ms_" + part, value);
    return events;
  }

  std::string path_;
  int file_;
  int64_t lost_ = 0;
  std::ofstream events_;
};

}  // namespace switchyard
