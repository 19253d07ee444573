// The folder of a run (--save-dir): config.toml, log.jsonl, tb/, checkpoints/, report.html, and a lock that
// keeps a second run out while this object lives. Made on rank 0 only; throws UserError.
#pragma once
#include <string>

namespace switchyard {

class RunFolder {
 public:
  // path "": runs/<app>-<date>-<time>. A folder that holds a run is refused unless it is resumed or overwritten.
  RunFolder(const std::string& path, const std::string& app, bool resume, bool overwrite);

  const std::string& path() const { return path_; }
  void write_config(const std::string& toml) const;

 private:
  struct Lock {
    explicit Lock(const std::string& folder);
    ~Lock();
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
    int file;
  };
  std::string path_;
  Lock lock_;
};

}  // namespace switchyard
