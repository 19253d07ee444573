// Files that survive a crash: hashing (XXH3-128), flushing to disk, atomic publishing of folders and links.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace switchyard {

// XXH3-128 of a stream of bytes, as 32 hexadecimal digits
class Hash128 {
 public:
  Hash128();
  Hash128& add(const void* bytes, int64_t count);
  Hash128& add(const std::string& text) { return add(text.data(), int64_t(text.size())); }
  std::string hex() const;

 private:
  std::shared_ptr<void> state_;
};

// The bytes [offset, offset + count) of a file, piece by piece; count -1 = to the end
void read_pieces(const std::string& file, int64_t offset, int64_t count,
                 const std::function<void(const char*, int64_t)>& piece);
std::string hash_file(const std::string& file, int64_t offset = 0, int64_t count = -1);
std::string read_text(const std::string& file);

void flush_to_disk(const std::string& file_or_folder);                 // fsync
void write_durably(const std::string& file, const std::string& text);  // write + fsync
// Gives the finished folder its final name; an older one of that name is exchanged in one step.
void publish_folder(const std::string& temporary, const std::string& final);
void publish_link(const std::string& link,
                  const std::string& target);  // replaces a link atomically
// UserError when the disk of `folder` has less room than `bytes`
void check_free_space(const std::string& folder, int64_t bytes);

}  // namespace switchyard
