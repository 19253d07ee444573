// log.jsonl (one JSON record for each line, keys in docs/formats.md) and its numbers as TensorBoard events in
// tb/, which is a copy: it is made anew from log.jsonl whenever a run starts. Rank 0 only.
// A full disk never stops a run: records go in whole or not at all, and what is lost is counted and said.
#pragma once
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

namespace switchyard {

class RunLog {
 public:
  // Goes on behind the records up to `update` that an earlier run left in the run folder.
  RunLog(const std::string& folder, int64_t update);
  ~RunLog();
  RunLog(const RunLog&) = delete;
  void write(nlohmann::json record);  // adds the time; on disk when it returns

 private:
  std::string path_;
  int file_;
  int64_t lost_ = 0;
  std::ofstream events_;
};

}  // namespace switchyard
