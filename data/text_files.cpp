#include "data/text_files.h"

#include <archive.h>
#include <archive_entry.h>

#include <filesystem>
#include <memory>

namespace switchyard {
namespace {

constexpr size_t kMaxFileBytes = size_t(8) << 30;  // of decompressed text; a bomb ends here
constexpr size_t kMaxLineWords = 2000, kMaxLineBytes = 20000;

// nullptr: usable; else the reason.
const char* line_fault(std::string_view line) {
  if (line.size() > kMaxLineBytes) return "line too long";
  if (line.find('\0') != line.npos) return "NUL byte";
  if (!valid_utf8(line)) return "invalid UTF-8";
  const size_t words = split_words(line).size();
  return words == 0 ? "empty line" : words > kMaxLineWords ? "line too long" : nullptr;
}

std::vector<std::string_view> lines_of(const std::string& text, const std::string& path) {
  std::vector<std::string_view> lines = split_at(text, '\n');
  user_check(!lines.empty(), path + " is empty: expected one sentence on each line");
  for (std::string_view& line : lines) line.remove_suffix(line.ends_with('\r'));
  return lines;
}

}  // namespace

std::string read_file(const std::string& path) {
  std::error_code error;
  user_check(std::filesystem::is_regular_file(path, error),
             concat("cannot read ", path, ": no such file, or a folder"));
  std::unique_ptr<archive, int (*)(archive*)> reader(archive_read_new(), archive_read_free);
  // The filters built into the library only: the others start programs.
  archive_read_support_filter_gzip(reader.get());
  archive_read_support_filter_zstd(reader.get());
  archive_read_support_filter_xz(reader.get());
  archive_read_support_filter_bzip2(reader.get());
  archive_read_support_format_raw(reader.get());
  archive_read_support_format_empty(reader.get());
  const auto succeeded = [&](bool ok) {
    const char* why = ok ? nullptr : archive_error_string(reader.get());
    user_check(ok, concat("cannot read ", path, ": ", why ? why : "damaged file"));
  };
  succeeded(archive_read_open_filename(reader.get(), path.c_str(), 1 << 16) == ARCHIVE_OK);
  archive_entry* entry = nullptr;
  const int header = archive_read_next_header(reader.get(), &entry);
  if (header == ARCHIVE_EOF) return "";
  succeeded(header == ARCHIVE_OK);
  std::string text;
  std::vector<char> block(1 << 18);
  la_ssize_t got = 0;
  while ((got = archive_read_data(reader.get(), block.data(), block.size())) > 0) {
    text.append(block.data(), size_t(got));
    user_check(text.size() <= kMaxFileBytes,
               path + " holds more than 8 GiB of text: cut it into parts");
  }
  succeeded(got == 0);
  return text;
}

std::vector<TextPair> read_aligned(const std::string& first, const std::string& second,
                                   Counts& skipped) {
  const std::string text_a = read_file(first), text_b = read_file(second);
  const auto a = lines_of(text_a, first), b = lines_of(text_b, second);
  user_check(a.size() == b.size(),
             concat("unequal line counts: ", first, " has ", a.size(), ", ", second, " has ",
                    b.size(), "; line i of both must be the same sentence"));
  std::vector<TextPair> pairs;
  for (size_t i = 0; i < a.size(); ++i) {
    const char* fault = line_fault(a[i]);
    if (!fault) fault = line_fault(b[i]);
    if (fault) ++skipped[fault];
    else pairs.emplace_back(a[i], b[i]);
  }
  return pairs;
}

}  // namespace switchyard
