#include "apps/common/append_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <iostream>
#include <utility>

#include "nn/checkpoint_files.h"
#include "tensor/check.h"

namespace switchyard {
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

void AppendFile::append(std::string_view record) {
  const auto bytes = static_cast<ssize_t>(record.size());
  if (::write(fd_, record.data(), record.size()) == bytes) {
    size_ += bytes;
    return;
  }
  ++lost_;
  warn("writing");
  // no torn record in front of later ones
  if (::ftruncate(fd_, size_) != 0) warn("cutting");
  ::lseek(fd_, size_, SEEK_SET);
}

void AppendFile::sync() {
  if (::fsync(fd_) != 0) warn("syncing");
}

void write_file_atomically(const std::string& path, const std::string& text) {
  namespace fs = std::filesystem;
  const std::string temporary = path + ".tmp";
  try {
    write_durably(temporary, text);
    fs::rename(temporary, path);
  } catch (const std::exception& why) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw UserError(concat("cannot write ", path, " (", why.what(), ")"));
  }
  flush_to_disk(fs::absolute(path).parent_path());
}

}  // namespace switchyard
