// Files that survive a crash: write, fsync, rename, fsync the folder.
#include "nn/checkpoint_files.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include "tensor/check.h"

namespace switchyard {
namespace fs = std::filesystem;
namespace {

void system_check(bool ok, const std::string& name, const char* what) {
  if (!ok) throw UserError(concat(name, ": ", what, ": ", std::generic_category().message(errno)));
}

// piece(bytes, n) for the bytes [offset, offset + count) of a file
template <class F>
void read_pieces(const std::string& file, int64_t offset, int64_t count, F&& piece) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  system_check(fd >= 0, file, "cannot be opened");
  std::vector<char> buffer(size_t(1) << 20);
  ssize_t got = 1;
  for (; got > 0 && count > 0; offset += got, count -= got) {
    got = ::pread(fd, buffer.data(), size_t(std::min(count, int64_t(buffer.size()))), offset);
    if (got > 0) piece(buffer.data(), got);
  }
  ::close(fd);
  system_check(got >= 0, file, "cannot be read");
}

}  // namespace

Hash128::Hash128() : state_(XXH3_createState(), XXH3_freeState) {
  XXH3_128bits_reset(state_.get());
}

Hash128& Hash128::add(const void* bytes, int64_t count) {
  XXH3_128bits_update(state_.get(), bytes, size_t(count));
  return *this;
}

std::string Hash128::hex() const {
  const XXH128_hash_t h = XXH3_128bits_digest(state_.get());
  return concat(std::hex, std::setfill('0'), std::setw(16), h.high64, std::setw(16), h.low64);
}

std::string hash_file(const std::string& file, int64_t offset, int64_t count) {
  Hash128 hash;
  read_pieces(file, offset, count, [&](const char* bytes, int64_t n) { hash.add(bytes, n); });
  return hash.hex();
}

std::string read_text(const std::string& file) {
  std::string text;
  read_pieces(file, 0, std::numeric_limits<int64_t>::max(),
              [&](const char* bytes, int64_t n) { text.append(bytes, size_t(n)); });
  return text;
}

void flush_to_disk(const std::string& name) {
  const int fd = ::open(name.c_str(), O_RDONLY | O_CLOEXEC);
  const bool flushed = fd >= 0 && ::fsync(fd) == 0;
  if (fd >= 0) ::close(fd);
  system_check(flushed, name, "cannot be flushed to disk");
}

void write_durably(const std::string& name, const std::string& text) {
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

void publish_folder(const std::string& temporary, const std::string& final) {
  flush_to_disk(temporary);
  if (!fs::exists(final)) {
    fs::rename(temporary, final);
  } else if (::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, final.c_str(), RENAME_EXCHANGE) !=
             0) {
    // A file system that cannot exchange (NFS): two steps
    const std::string aside = temporary + "_old";
    fs::rename(final, aside);
    fs::rename(temporary, final);
    fs::remove_all(aside);
  }
  flush_to_disk(fs::path(final).parent_path());
  fs::remove_all(temporary);  // after an exchange: the older folder
}

void publish_link(const std::string& link, const std::string& target) {
  const fs::path path(link);
  const fs::path temporary = path.parent_path() / (".tmp_" + path.filename().string());
  fs::remove(temporary);
  fs::create_symlink(target, temporary);
  fs::rename(temporary, path);
  flush_to_disk(path.parent_path());
}

void check_free_space(const std::string& folder, int64_t bytes) {
  const auto available = fs::space(folder).available;
  user_check(available >= uintmax_t(bytes),
             concat(folder, ": the disk is too full for a checkpoint: it needs ", bytes >> 20,
                    " MiB, ", available >> 20, " MiB are free"));
}

}  // namespace switchyard
