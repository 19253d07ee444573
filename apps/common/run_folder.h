// The folder of a run (--save-dir): config.toml, log.jsonl, tb/, checkpoints/, report.html, and a lock that
// keeps a second run out while this object lives. Made on rank 0 only; throws UserError.
#pragma once
#include <cstdio>
#include <memory>
#include <string>

namespace switchyard {

class RunFolder {
 public:
  // path "": runs/<app>-<date>-<time>. A folder that holds a run is refused unless it is resumed or overwritten.
  RunFolder(const std::string& path, const std::string& app, bool resume, bool overwrite);

  std::string path;

 private:
  std::unique_ptr<std::FILE, int (*)(std::FILE*)>
      lock_;  // closing it, or the end of the process, unlocks
};

}  // namespace switchyard
