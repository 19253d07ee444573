// Files of a run that must never stop it: records go in whole or not at all, and what a full disk swallowed
// is counted and said. Also: small files that appear whole (temporary file, fsync, rename).
#pragma once
#include <cstdint>
#include <string>

namespace switchyard {

class AppendFile {
 public:
  // Begins with `first`, in place of what is there. UserError if it cannot be written.
  AppendFile(const std::string& path, const std::string& first);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  void append(const std::string& record);
  void sync();  // on disk

 private:
  std::string path_;
  int fd_;
  int64_t lost_ = 0;
};

// Throws UserError. After a crash at any instant the file is the old one or the new one.
void write_file_atomically(const std::string& path, const std::string& text);

}  // namespace switchyard
