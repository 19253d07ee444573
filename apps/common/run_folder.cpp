#include "apps/common/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>

#include "apps/common/append_file.h"
#include "dist/cpus.h"
#include "nn/checkpoint_files.h"
#include "tensor/check.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

// What a run leaves behind; --overwrite removes these and nothing else.
constexpr const char* kContents[] = {"config.toml", "log.jsonl", "tb", "checkpoints",
                                     "report.html"};

bool create_folders(const std::string& path) {
  std::error_code error;
  const bool created = fs::create_directories(path, error);
  user_check(!error, concat("--save-dir: cannot create folder '", path, "': ", error.message()));
  user_check(fs::is_directory(path), concat("--save-dir: '", path, "' is not a folder"));
  return created;
}

// A folder that nobody else has, also when two runs start in the same second.
std::string create_default(const std::string& app) {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  char text[32];
  std::strftime(text, sizeof(text), "%Y%m%d-%H%M%S", &local);
  const std::string path = concat("runs/", app, "-", text);
  if (create_folders(path)) return path;
  for (int i = 2;; ++i)
    if (const std::string next = concat(path, "-", i); create_folders(next)) return next;
}

}  // namespace

RunFolder::RunFolder(const std::string& path, const std::string& app, bool resume, bool overwrite)
    : path_(path.empty() ? create_default(app) : path), lock_(path_) {
  if (resume) return;
  for (const char* name : kContents) {
    const fs::path item = fs::path(path_) / name;
    if (!fs::exists(fs::symlink_status(item))) continue;
    user_check(
        overwrite,
        concat("--save-dir: '", path_, "' already holds a run (", name,
               "); give --resume latest to go on, --overwrite to replace it, or another folder"));
    std::error_code error;
    fs::remove_all(item, error);
    user_check(!error,
               concat("--overwrite: cannot remove '", item.string(), "': ", error.message()));
  }
}

RunFolder::Lock::Lock(const std::string& folder) {
  create_folders(folder);
  const std::string path = folder + "/lock";
  file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  user_check(file >= 0,
             concat("--save-dir: cannot write in folder '", folder, "': ", std::strerror(errno)));
  if (::flock(file, LOCK_EX | LOCK_NB) != 0) {
    const std::string why = errno == EWOULDBLOCK
                                ? "is used by another run (" + read_text(path) + ")"
                                : concat("cannot be locked: ", std::strerror(errno));
    ::close(file);  // no destructor after a throw
    throw UserError(
        concat("--save-dir: '", folder, "' ", why, "; wait for it or take another folder"));
  }
  // who holds it: only for the message above
  const std::string who = concat("process ", ::getpid(), " on ", dist::host_name());
  if (::ftruncate(file, 0) == 0) (void)!::write(file, who.data(), who.size());
}

RunFolder::Lock::~Lock() { ::close(file); }  // releases the lock, as the end of the process does

void RunFolder::write_config(const std::string& toml) const {
  write_file_atomically(path_ + "/config.toml", toml);
}

}  // namespace switchyard
