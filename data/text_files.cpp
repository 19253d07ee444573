#include "data/text_files.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "tensor/check.h"

namespace switchyard {
namespace {

constexpr size_t kMaxFileBytes = size_t(8) << 30;  // of decompressed text; a bomb ends here

void require_regular_file(const std::string& path) {
  struct stat info;
  user_check(::stat(path.c_str(), &info) == 0,
             concat("cannot read ", path, ": ", std::strerror(errno)));
  user_check(!S_ISDIR(info.st_mode),
             concat("cannot read ", path, ": it is a folder, expected a file"));
  user_check(S_ISREG(info.st_mode), concat("cannot read ", path, ": not a regular file"));
}

// nullptr: usable; else the reason.
const char* line_fault(const std::string& line) {
  if (int64_t(line.size()) > kMaxLineBytes) return "line too long";
  if (line.find('\0') != std::string::npos) return "NUL byte";
  if (!valid_utf8(line)) return "invalid UTF-8";
  const size_t words = split_words(line).size();
  if (words == 0 || line == "\r") return "empty line";
  return int64_t(words) > kMaxLineWords ? "line too long" : nullptr;
}

}  // namespace

std::string read_file(const std::string& path) {
  require_regular_file(path);
  std::unique_ptr<archive, int (*)(archive*)> reader(archive_read_new(), archive_read_free);
  check(reader != nullptr, "libarchive gave no reader");
  // The filters built into the library only: the others start programs.
  archive_read_support_filter_gzip(reader.get());
  archive_read_support_filter_zstd(reader.get());
  archive_read_support_filter_xz(reader.get());
  archive_read_support_filter_bzip2(reader.get());
  archive_read_support_format_raw(reader.get());
  archive_read_support_format_empty(reader.get());
  const auto fail = [&]() {
    const char* why = archive_error_string(reader.get());
    throw UserError(concat("cannot read ", path, ": ", why ? why : "damaged file"));
  };
  if (archive_read_open_filename(reader.get(), path.c_str(), 1 << 16) != ARCHIVE_OK) fail();
  archive_entry* entry = nullptr;
  const int header = archive_read_next_header(reader.get(), &entry);
  std::string text;
  if (header == ARCHIVE_EOF) return text;
  if (header != ARCHIVE_OK) fail();
  std::vector<char> block(1 << 18);
  while (true) {
    const la_ssize_t got = archive_read_data(reader.get(), block.data(), block.size());
    if (got < 0) fail();
    if (got == 0) break;
    text.append(block.data(), size_t(got));
    user_check(text.size() <= kMaxFileBytes,
               concat(path, " holds more than 8 GiB of text: cut it into parts"));
  }
  return text;
}

std::vector<std::string> split_lines(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t i = 0; i < text.size();) {
    const size_t end = std::min(text.find('\n', i), text.size());
    lines.push_back(text.substr(i, end - i));
    i = end + 1;
  }
  return lines;
}

std::vector<TextPair> read_aligned(const std::string& first, const std::string& second,
                                   Counts& skipped) {
  std::vector<std::string> a = split_lines(read_file(first)), b = split_lines(read_file(second));
  for (const auto& [lines, path] : {std::pair(&a, &first), std::pair(&b, &second)}) {
    user_check(!lines->empty(), concat(*path, " is empty: expected one sentence on each line"));
  }
  user_check(a.size() == b.size(),
             concat("unequal line counts: ", first, " has ", a.size(), ", ", second, " has ",
                    b.size(), "; line i of both must be the same sentence"));
  std::vector<TextPair> pairs;
  for (size_t i = 0; i < a.size(); ++i) {
    const char* fault = line_fault(a[i]);
    if (!fault) fault = line_fault(b[i]);
    if (fault) {
      ++skipped[fault];
      continue;
    }
    for (std::string* line : {&a[i], &b[i]}) {
      if (line->back() == '\r') line->pop_back();
    }
    pairs.emplace_back(std::move(a[i]), std::move(b[i]));
  }
  return pairs;
}

}  // namespace switchyard
