// Files that survive a crash: hashing (XXH3-128), flushing to disk, atomic publishing of folders and links.
#pragma once
#include <memory>
#include <string>

#include <xxhash.h>

namespace switchyard {

// XXH3-128 of a stream of bytes, as 32 hexadecimal digits
class Hash128 {
 public:
  Hash128() { XXH3_128bits_reset(state_.get()); }
  Hash128& add(const void* bytes, int64_t count) {
    XXH3_128bits_update(state_.get(), bytes, size_t(count));
    return *this;
  }
  Hash128& add(const std::string& text) { return add(text.data(), int64_t(text.size())); }
  std::string hex() const;

 private:
  std::shared_ptr<XXH3_state_t> state_{XXH3_createState(), XXH3_freeState};
};

// UserError "name: what: why the last system call failed" unless ok
void system_check(bool ok, const std::string& name, const char* what);

// The bytes [offset, offset + count) of a file, and their hash
std::string read_text(const std::string& file, int64_t offset = 0, int64_t count = INT64_MAX);
std::string hash_file(const std::string& file, int64_t offset = 0, int64_t count = INT64_MAX);

void flush_to_disk(const std::string& file_or_folder);  // fsync
// After a crash at any instant the file is the old one or the new one.
void write_durably(const std::string& file, const std::string& text);
// Gives the finished folder its final name. An older one of that name stays whole until then.
void publish_folder(const std::string& temporary, const std::string& final);
// Out of sight first: a crash while deleting must not look like a damaged checkpoint.
void remove_folder(const std::string& folder);
// Replaces a link atomically.
void publish_link(const std::string& link, const std::string& target);
// UserError when the disk of `folder` has less room than `bytes`
void check_free_space(const std::string& folder, int64_t bytes);

}  // namespace switchyard
