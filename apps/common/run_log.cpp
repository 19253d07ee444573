#include "apps/common/run_log.h"

#include <chrono>
#include <filesystem>

#include "apps/common/tensorboard.h"
#include "dist/cpus.h"
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

RunLog::RunLog(const std::string& folder, int64_t update)
    : lines_(folder + "/log.jsonl", records_until(update, folder + "/log.jsonl")),
      events_(event_file(folder + "/tb"), tfrecord(version_event(now()))) {
  std::istringstream kept(read_text(folder + "/log.jsonl"));
  for (std::string line; std::getline(kept, line);) events_.append(events_of(json::parse(line)));
}

void RunLog::write(json record) {
  record["time"] = now();
  lines_.append(record.dump(-1, ' ', false, json::error_handler_t::replace) + "\n");
  events_.append(events_of(record));
}

void RunLog::sync() {
  lines_.sync();
  events_.sync();
}

}  // namespace switchyard
