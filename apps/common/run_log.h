// log.jsonl (one JSON record for each line, keys in docs/formats.md) and its numbers as TensorBoard events in
// tb/, which is a copy: it is made anew from log.jsonl whenever a run starts. Rank 0 only.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "apps/common/append_file.h"

namespace switchyard {

class RunLog {
 public:
  // Goes on behind the records up to `update` that an earlier run left in the run folder.
  RunLog(const std::string& folder, int64_t update);
  // Adds the time; at once in the files. On a full disk counted as lost, never an error.
  void write(nlohmann::json record);
  void sync();  // on disk

 private:
  AppendFile lines_, events_;
};

}  // namespace switchyard
