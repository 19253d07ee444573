// Files of a run that must never stop it: records go in whole or not at all, and what a full disk swallowed
// is counted and said once. Also: small files that appear whole (temporary file, fsync, rename).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace switchyard {

class AppendFile {
 public:
  AppendFile(const std::string& path,
             bool keep);  // keep: go on behind what is there; UserError if it cannot
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  void append(std::string_view record);
  void sync();  // on disk

 private:
  void warn(const char* what);
  std::string path_;
  int fd_ = -1;
  int64_t size_ = 0, lost_ = 0;
  bool warned_ = false;
};

// Throws UserError. After a crash at any instant the file is the old one or the new one.
void write_file_atomically(const std::string& path, const std::string& text);

}  // namespace switchyard
