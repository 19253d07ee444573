// The folder of a run (--save-dir): config.toml, log.jsonl, tb/, checkpoints/, report.html, and a lock that
// keeps a second run out while this object lives. Made on rank 0 only; throws UserError.
#pragma once
#include <sys/file.h>
#include <unistd.h>

#include <cstring>
#include <ctime>
#include <filesystem>
#include <iomanip>
#include <memory>

#include "dist/runtime.h"
#include "nn/checkpoint_files.h"
#include "tensor/check.h"

namespace switchyard {

class RunFolder {
 public:
  // path "": runs/<app>-<date>-<time>. A folder that holds a run is refused unless it is resumed or overwritten.
  RunFolder(const std::string& wanted, const std::string& app, bool resume, bool overwrite) try
      : path(wanted.empty() ? create_default(app) : wanted), lock_(nullptr, std::fclose) {
    std::filesystem::create_directories(path);
    lock_.reset(std::fopen((path + "/lock").c_str(), "a+e"));
    user_check(lock_ != nullptr, concat("cannot write in folder '", path, "': ", strerror(errno)));
    const int file = fileno(lock_.get());
    if (::flock(file, LOCK_EX | LOCK_NB) != 0)
      throw UserError(concat("'", path, "' is used by another run (", read_text(path + "/lock"),
                             ": ", strerror(errno), "); wait for it or take another folder"));
    // who holds it: only for the message above
    if (::ftruncate(file, 0) == 0)
      std::fprintf(lock_.get(), "process %d on %s", ::getpid(), dist::host_name().c_str());
    std::fflush(lock_.get());

    if (resume) return;
    // What a run leaves behind; --overwrite removes these and nothing else.
    for (const char* name : {"config.toml", "log.jsonl", "tb", "checkpoints", "report.html"}) {
      const auto item = std::filesystem::path(path) / name;
      user_check(
          overwrite || !exists(symlink_status(item)),
          concat("'", path, "' already holds a run (", name,
                 "); give --resume latest to go on, --overwrite to replace it, or another folder"));
      remove_all(item);
    }
  } catch (const std::exception& error) {  // of the file system, or one of the above
    throw UserError(concat("--save-dir: ", error.what()));
  }

  std::string path;

 private:
  // A folder that nobody else has, also when two runs start in the same second.
  static std::string create_default(const std::string& app) {
    const std::time_t now = std::time(nullptr);
    const std::string first =
        concat("runs/", app, "-", std::put_time(std::localtime(&now), "%Y%m%d-%H%M%S"));
    std::string path = first;
    for (int i = 2; !std::filesystem::create_directories(path); ++i) path = concat(first, "-", i);
    return path;
  }

  // closing it, or the end of the process, unlocks
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> lock_;
};

}  // namespace switchyard
