// Files that survive a crash: write, fsync, rename, fsync the folder.
#include "nn/checkpoint_files.h"

#include <cstdio>
#include <filesystem>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <xxhash.h>

#include "tensor/check.h"

namespace switchyard {
namespace fs = std::filesystem;
namespace {

[[noreturn]] void system_failure(const std::string& name, const char* what) {
  throw UserError(concat(name, ": ", what, ": ", std::generic_category().message(errno)));
}

struct Descriptor {
  int fd;
  Descriptor(const std::string& name, int flags)
      : fd(::open(name.c_str(), flags | O_CLOEXEC, 0644)) {
    if (fd < 0) system_failure(name, "cannot be opened");
  }
  ~Descriptor() { ::close(fd); }
  Descriptor(const Descriptor&) = delete;
};

}  // namespace

Hash128::Hash128()
    : state_(XXH3_createState(), [](void* s) { XXH3_freeState(static_cast<XXH3_state_t*>(s)); }) {
  XXH3_128bits_reset(static_cast<XXH3_state_t*>(state_.get()));
}

Hash128& Hash128::add(const void* bytes, int64_t count) {
  XXH3_128bits_update(static_cast<XXH3_state_t*>(state_.get()), bytes, size_t(count));
  return *this;
}

std::string Hash128::hex() const {
  const XXH128_hash_t h = XXH3_128bits_digest(static_cast<const XXH3_state_t*>(state_.get()));
  char text[33];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(h.high64),
                static_cast<unsigned long long>(h.low64));
  return text;
}

void read_pieces(const std::string& file, int64_t offset, int64_t count,
                 const std::function<void(const char*, int64_t)>& piece) {
  Descriptor in(file, O_RDONLY);
  std::vector<char> buffer(size_t(1) << 20);
  while (count != 0) {
    const int64_t want =
        count < 0 ? int64_t(buffer.size()) : std::min(count, int64_t(buffer.size()));
    const ssize_t got = ::pread(in.fd, buffer.data(), size_t(want), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) system_failure(file, "cannot be read");
    if (got == 0) return;
    piece(buffer.data(), got);
    offset += got;
    if (count > 0) count -= got;
  }
}

std::string hash_file(const std::string& file, int64_t offset, int64_t count) {
  Hash128 hash;
  read_pieces(file, offset, count, [&](const char* bytes, int64_t n) { hash.add(bytes, n); });
  return hash.hex();
}

std::string read_text(const std::string& file) {
  std::string text;
  read_pieces(file, 0, -1, [&](const char* bytes, int64_t n) { text.append(bytes, size_t(n)); });
  return text;
}

void flush_to_disk(const std::string& name) {
  Descriptor file(name, O_RDONLY);
  if (::fsync(file.fd) != 0) system_failure(name, "cannot be flushed to disk");
}

void write_durably(const std::string& name, const std::string& text) {
  Descriptor file(name, O_WRONLY | O_CREAT | O_TRUNC);
  for (size_t done = 0; done < text.size();) {
    const ssize_t n = ::write(file.fd, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) system_failure(name, "cannot be written");
    done += size_t(n);
  }
  if (::fsync(file.fd) != 0) system_failure(name, "cannot be flushed to disk");
}

void publish_folder(const std::string& temporary, const std::string& final) {
  const std::string parent = fs::path(final).parent_path().string();
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
  flush_to_disk(parent);
  fs::remove_all(temporary);  // after an exchange: the older folder
}

void publish_link(const std::string& link, const std::string& target) {
  const fs::path path(link);
  const fs::path temporary = path.parent_path() / (".tmp_" + path.filename().string());
  fs::remove(temporary);
  fs::create_symlink(target, temporary);
  fs::rename(temporary, path);
  flush_to_disk(path.parent_path().string());
}

void check_free_space(const std::string& folder, int64_t bytes) {
  struct statvfs disk;
  if (::statvfs(folder.c_str(), &disk) != 0) system_failure(folder, "cannot be examined");
  const auto available = __int128(disk.f_bavail) * disk.f_frsize;
  user_check(available >= bytes,
             concat(folder, ": the disk is too full for a checkpoint: it needs ", bytes >> 20,
                    " MiB, ", int64_t(available >> 20), " MiB are free"));
}

}  // namespace switchyard
