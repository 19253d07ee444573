#include "apps/common/append_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <utility>

#include "tensor/check.h"

namespace switchyard {
namespace {

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<size_t>(written));
  }
  return true;
}

}  // namespace

AppendFile::AppendFile(const std::string& path, bool keep) : path_(path) {
  fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | (keep ? 0 : O_TRUNC), 0666);
  user_check(fd_ >= 0, concat("cannot write '", path, "': ", std::strerror(errno)));
  size_ = ::lseek(fd_, 0, SEEK_END);
}

AppendFile::~AppendFile() {
  if (lost_ > 0) std::cerr << "warning: " << path_ << " lacks " << lost_ << " records\n";
  ::close(fd_);
}

void AppendFile::warn(const char* what) {
  if (!std::exchange(warned_, true))
    std::cerr << "warning: " << what << " '" << path_ << "' fails (" << std::strerror(errno)
              << "); the run goes on without these records\n";
}

bool AppendFile::append(std::string_view record) {
  if (write_all(fd_, record)) {
    size_ += static_cast<int64_t>(record.size());
    return true;
  }
  ++lost_;
  warn("writing");
  // no torn record in front of later ones
  if (::ftruncate(fd_, size_) != 0) warn("cutting");
  ::lseek(fd_, size_, SEEK_SET);
  return false;
}

void AppendFile::sync() {
  if (::fsync(fd_) != 0 && errno != EINVAL) warn("syncing");  // EINVAL: a pipe or a device
}

void write_file_atomically(const std::string& path, std::string_view text) {
  const std::string temporary = path + ".tmp";
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  user_check(fd >= 0, concat("cannot write '", path, "': ", std::strerror(errno)));
  const bool written = write_all(fd, text) && ::fsync(fd) == 0;
  int error = errno;
  ::close(fd);
  const bool renamed = written && ::rename(temporary.c_str(), path.c_str()) == 0;
  if (written) error = errno;
  if (!renamed) ::unlink(temporary.c_str());
  user_check(renamed, concat("cannot write '", path, "': ", std::strerror(error)));
  const std::string folder = std::filesystem::path(path).parent_path();
  const int folder_fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_CLOEXEC);
  if (folder_fd < 0) return;  // the rename itself is done; only its durability could not be forced
  ::fsync(folder_fd);
  ::close(folder_fd);
}

std::string read_whole_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const bool opened = in.is_open() && !std::filesystem::is_directory(path);
  std::string text;
  if (opened) text.assign(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  user_check(opened && !in.bad(), concat("cannot read '", path, "'"));
  return text;
}

}  // namespace switchyard
