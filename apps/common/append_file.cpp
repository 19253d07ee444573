#include "apps/common/append_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <iostream>

#include "nn/checkpoint_files.h"
#include "tensor/check.h"

namespace switchyard {

AppendFile::AppendFile(const std::string& path, const std::string& first) : path_(path) {
  write_file_atomically(path, first);
  fd_ = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  user_check(fd_ >= 0, concat("cannot write '", path, "': ", std::strerror(errno)));
}

AppendFile::~AppendFile() {
  if (lost_ > 0) std::cerr << "warning: " << path_ << " lacks " << lost_ << " records\n";
  sync();
  ::close(fd_);
}

void AppendFile::append(const std::string& record) {
  const off_t end = ::lseek(fd_, 0, SEEK_END);
  if (::write(fd_, record.data(), record.size()) == ssize_t(record.size())) return;
  if (lost_++ == 0)
    std::cerr << "warning: writing '" << path_ << "' fails (" << std::strerror(errno)
              << "); the run goes on without these records\n";
  (void)!::ftruncate(fd_, end);  // no torn record in front of later ones
}

void AppendFile::sync() {
  if (::fsync(fd_) != 0)
    std::cerr << "warning: '" << path_ << "' is not on disk (" << std::strerror(errno) << ")\n";
}

void write_file_atomically(const std::string& path, const std::string& text) {
  namespace fs = std::filesystem;
  const std::string temporary = path + ".tmp";
  try {
    write_durably(temporary, text);
    fs::rename(temporary, path);
    flush_to_disk(fs::absolute(path).parent_path());
  } catch (const std::exception& why) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw UserError(concat("cannot write ", path, " (", why.what(), ")"));
  }
}

}  // namespace switchyard
