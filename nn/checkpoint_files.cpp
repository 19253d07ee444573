// Files that survive a crash: write, fsync, rename, fsync the folder.
#include "nn/checkpoint_files.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iomanip>

#include <fcntl.h>
#include <unistd.h>

#include "tensor/check.h"

namespace switchyard {
namespace fs = std::filesystem;

static fs::path hidden(const fs::path& path) {  // what a start removes
  return path.parent_path() / (".tmp_" + path.filename().string());
}

void system_check(bool ok, const std::string& name, const char* what) {
  if (!ok) throw UserError(concat(name, ": ", what, ": ", std::generic_category().message(errno)));
}

std::string Hash128::hex() const {
  const XXH128_hash_t h = XXH3_128bits_digest(state_.get());
  return concat(std::hex, std::setfill('0'), std::setw(16), h.high64, std::setw(16), h.low64);
}

std::string read_text(const std::string& file, int64_t offset, int64_t count) {
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

std::string hash_file(const std::string& file, int64_t offset, int64_t count) {
  Hash128 hash;
  std::string piece(1, ' ');
  for (int64_t at = 0; at < count && !piece.empty(); at += int64_t(piece.size())) {
    piece = read_text(file, offset + at, std::min<int64_t>(count - at, 1 << 20));
    hash.add(piece);
  }
  return hash.hex();
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
  const std::string older = final + "_old";  // still found there after a crash
  if (fs::exists(final)) {
    remove_folder(older);
    fs::rename(final, older);
  }
  fs::rename(temporary, final);
  flush_to_disk(fs::path(final).parent_path());
  remove_folder(older);
}

void remove_folder(const std::string& folder) {
  if (!fs::exists(folder)) return;
  fs::rename(folder, hidden(folder));
  fs::remove_all(hidden(folder));
}

void publish_link(const std::string& link, const std::string& target) {
  fs::remove(hidden(link));
  fs::create_symlink(target, hidden(link));
  fs::rename(hidden(link), link);
  flush_to_disk(fs::path(link).parent_path());
}

void check_free_space(const std::string& folder, int64_t bytes) {
  const auto available = fs::space(folder).available;
  user_check(available >= uintmax_t(bytes),
             concat(folder, ": the disk is too full for a checkpoint: it needs ", bytes >> 20,
                    " MiB, ", available >> 20, " MiB are free"));
}

}  // namespace switchyard
