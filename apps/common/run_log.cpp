#include "apps/common/run_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <iostream>

#include "apps/common/tensorboard.h"
#include "dist/runtime.h"
#include "nn/checkpoint_files.h"
#include "tensor/check.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

double now() {  // seconds since 1970
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// The records up to `update`; a line torn by a crash goes too.
std::string records_until(int64_t update, const std::string& path) {
  if (!fs::exists(path)) return "";
  std::istringstream lines(read_text(path));
  std::string kept;
  for (std::string line; std::getline(lines, line);) {
    const json record = json::parse(line, nullptr, false);
    const json at = record.is_object() ? record.value("update", json(0)) : json();
    if (at.is_number() && at <= update) kept += line + "\n";
  }
  return kept;
}

// A new event file as the only one: TensorBoard reads all that it finds.
std::string event_file(const std::string& folder) {
  std::error_code error;
  fs::remove_all(folder, error);
  fs::create_directories(folder, error);
  user_check(!error, concat("cannot create folder '", folder, "': ", error.message()));
  return concat(folder, "/events.out.tfevents.", int64_t(now()), ".", dist::host_name());
}

// The numbers of a record; those of "ms" as "ms_step", ...
std::string events_of(const json& record) {
  std::string events;
  const auto add = [&](const std::string& name, const json& value) {
    if (value.is_number() && name != "update" && name != "time")
      events += tfrecord(scalar_event(record.value("time", 0.0), record.value("update", int64_t(0)),
                                      record.value("kind", "note") + "/" + name, value));
  };
  for (const auto& [name, value] : record.items()) add(name, value);
  const json times = record.value("ms", json::object());
  for (const auto& [part, value] : times.items()) add("ms_" + part, value);
  return events;
}

}  // namespace

RunLog::RunLog(const std::string& folder, int64_t update) : path_(folder + "/log.jsonl") {
  const std::string kept = records_until(update, path_);
  write_durably(path_, kept);
  file_ = ::open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  user_check(file_ >= 0, concat("cannot write '", path_, "': ", std::strerror(errno)));
  events_.open(event_file(folder + "/tb"), std::ios::binary);
  events_ << tfrecord(version_event(now()));
  std::istringstream lines(kept);
  for (std::string line; std::getline(lines, line);) events_ << events_of(json::parse(line));
  events_.flush();
}

RunLog::~RunLog() {
  if (lost_ > 0) std::cerr << "warning: " << path_ << " lacks " << lost_ << " records\n";
  ::close(file_);
}

void RunLog::write(json record) {
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

}  // namespace switchyard
