// Files that survive a crash (write, fsync, rename, fsync the folder): hashing (XXH3-128), flushing to
// disk, atomic publishing of folders and links.
#pragma once
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <memory>

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include "tensor/check.h"

namespace switchyard {
namespace fs = std::filesystem;

// XXH3-128 of a stream of bytes, as 32 hexadecimal digits
class Hash128 {
 public:
  Hash128() { XXH3_128bits_reset(state_.get()); }
  Hash128& add(const void* bytes, int64_t count) {
    XXH3_128bits_update(state_.get(), bytes, size_t(count));
    return *this;
  }
  Hash128& add(const std::string& text) { return add(text.data(), int64_t(text.size())); }
  std::string hex() const {
    const XXH128_hash_t h = XXH3_128bits_digest(state_.get());
    return concat(std::hex, std::setfill('0'), std::setw(16), h.high64, std::setw(16), h.low64);
  }

 private:
  std::shared_ptr<XXH3_state_t> state_{XXH3_createState(), XXH3_freeState};
};

inline fs::path hidden(const fs::path& path) {  // what a start removes
  return path.parent_path() / (".tmp_" + path.filename().string());
}

// UserError "name: what: why the last system call failed" unless ok
inline void system_check(bool ok, const std::string& name, const char* what) {
  if (!ok) throw UserError(concat(name, ": ", what, ": ", std::generic_category().message(errno)));
}

// The bytes [offset, offset + count) of a file, and their hash
inline std::string read_text(const std::string& file, int64_t offset = 0,
                             int64_t count = INT64_MAX) {
  std::ifstream in(file, std::ios::binary);
  system_check(in.is_open(), file, "cannot be opened");
  std::error_code error;
  const auto size = int64_t(fs::file_size(file, error));
  user_check(!error, concat(file, ": cannot be read: ", error.message()));
  std::string text(size_t(std::clamp<int64_t>(size - offset, 0, count)), '\0');
  in.seekg(offset).read(text.data(), int64_t(text.size()));
  system_check(in.good(), file, "cannot be read");
  return text;
}

inline std::string hash_file(const std::string& file, int64_t offset = 0,
                             int64_t count = INT64_MAX) {
  Hash128 hash;
  std::string piece(1, ' ');
  for (int64_t at = 0; at < count && !piece.empty(); at += int64_t(piece.size())) {
    piece = read_text(file, offset + at, std::min<int64_t>(count - at, 1 << 20));
    hash.add(piece);
  }
  return hash.hex();
}

// fsync
inline void flush_to_disk(const std::string& name) {
  const int fd = ::open(name.c_str(), O_RDONLY | O_CLOEXEC);
  const bool flushed = fd >= 0 && ::fsync(fd) == 0;
  if (fd >= 0) ::close(fd);
  system_check(flushed, name, "cannot be flushed to disk");
}

// After a crash at any instant the file is the old one or the new one.
inline void write_durably(const std::string& name, const std::string& text) {
  const std::string temporary = name + ".tmp";
  std::ofstream file(temporary, std::ios::binary);
  file << text;
  file.close();
  std::error_code ignored;
  if (!file.good()) fs::remove(temporary, ignored);
  system_check(file.good(), name, "cannot be written");
  flush_to_disk(temporary);
  fs::rename(temporary, name);
  flush_to_disk(fs::absolute(name).parent_path());
}

// Out of sight first: a crash while deleting must not look like a damaged checkpoint.
inline void remove_folder(const std::string& folder) {
  if (!fs::exists(folder)) return;
  fs::rename(folder, hidden(folder));
  fs::remove_all(hidden(folder));
}

// Gives the finished folder its final name. An older one of that name stays whole until then.
inline void publish_folder(const std::string& temporary, const std::string& final) {
  flush_to_disk(temporary);
  const std::string older = final + "_old";  // still found there after a crash
  if (fs::exists(final)) {
    remove_folder(older);
    fs::rename(final, older);
  }
  fs::rename(temporary, final);
  flush_to_disk(fs::path(final).parent_path());
  remove_folder(older);
}

// Replaces a link atomically.
inline void publish_link(const std::string& link, const std::string& target) {
  fs::remove(hidden(link));
  fs::create_symlink(target, hidden(link));
  fs::rename(hidden(link), link);
  flush_to_disk(fs::path(link).parent_path());
}

// UserError when the disk of `folder` has less room than `bytes`
inline void check_free_space(const std::string& folder, int64_t bytes) {
  const auto available = fs::space(folder).available;
  user_check(available >= uintmax_t(bytes),
             concat(folder, ": the disk is too full for a checkpoint: it needs ", bytes >> 20,
                    " MiB, ", available >> 20, " MiB are free"));
}

}  // namespace switchyard
