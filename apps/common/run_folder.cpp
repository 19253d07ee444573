#include "apps/common/run_folder.h"

#include <sys/file.h>
#include <unistd.h>

#include <cstring>
#include <ctime>
#include <filesystem>
#include <iomanip>

#include "dist/runtime.h"
#include "nn/checkpoint_files.h"
#include "tensor/check.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

// A folder that nobody else has, also when two runs start in the same second.
std::string create_default(const std::string& app) {
  const std::time_t now = std::time(nullptr);
  const std::string first =
      concat("runs/", app, "-", std::put_time(std::localtime(&now), "%Y%m%d-%H%M%S"));
  std::string path = first;
  for (int i = 2; !fs::create_directories(path); ++i) path = concat(first, "-", i);
  return path;
}

}  // namespace

RunFolder::RunFolder(const std::string& wanted, const std::string& app, bool resume,
                     bool overwrite) try
    : path(wanted.empty() ? create_default(app) : wanted), lock_(nullptr, std::fclose) {
  fs::create_directories(path);
  lock_.reset(std::fopen((path + "/lock").c_str(), "a+e"));
  user_check(lock_ != nullptr, concat("cannot write in folder '", path, "': ", strerror(errno)));
  const int file = fileno(lock_.get());
  if (::flock(file, LOCK_EX | LOCK_NB) != 0)
    throw UserError(concat("'", path, "' is used by another run (", read_text(path + "/lock"), ": ",
                           strerror(errno), "); wait for it or take another folder"));
  // who holds it: only for the message above
  if (::ftruncate(file, 0) == 0)
    std::fprintf(lock_.get(), "process %d on %s", ::getpid(), dist::host_name().c_str());
  std::fflush(lock_.get());

  if (resume) return;
  // What a run leaves behind; --overwrite removes these and nothing else.
  for (const char* name : {"config.toml", "log.jsonl", "tb", "checkpoints", "report.html"}) {
    const fs::path item = fs::path(path) / name;
    user_check(
        overwrite || !fs::exists(fs::symlink_status(item)),
        concat("'", path, "' already holds a run (", name,
               "); give --resume latest to go on, --overwrite to replace it, or another folder"));
    fs::remove_all(item);
  }
} catch (const std::exception& error) {  // of the file system, or one of the above
  throw UserError(concat("--save-dir: ", error.what()));
}

}  // namespace switchyard
