#include "data/text_files.h"

#include <archive.h>
#include <archive_entry.h>

#include <filesystem>
#include <memory>

#include "tensor/check.h"

namespace switchyard {
namespace {

constexpr size_t kMaxFileBytes = size_t(8) << 30;  // of decompressed text; a bomb ends here
constexpr size_t kMaxLineWords = 2000, kMaxLineBytes = 20000;

// nullptr: usable; else the reason.
const char* line_fault(std::string_view line) {
  if (line.size() > kMaxLineBytes) return "line too long";
  if (line.find('\0') != std::string_view::npos) return "NUL byte";
  if (!valid_utf8(line)) return "invalid UTF-8";
  const size_t words = split_words(line).size();
  if (words == 0 || line == "\r") return "empty line";
  return words > kMaxLineWords ? "line too long" : nullptr;
}

std::string without_return(std::string_view line) {
  return std::string(line.substr(0, line.size() - line.ends_with('\r')));
}

}  // namespace

std::string read_file(const std::string& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  user_check(std::filesystem::is_regular_file(status),
             concat("cannot read ", path, ": ",
                    error                                   ? error.message()
                    : std::filesystem::is_directory(status) ? "it is a folder, expected a file"
                                                            : "not a regular file"));
  std::unique_ptr<archive, int (*)(archive*)> reader(archive_read_new(), archive_read_free);
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
  std::string text;
  const int header = archive_read_next_header(reader.get(), &entry);
  if (header == ARCHIVE_EOF) return text;
  if (header != ARCHIVE_OK) fail();
  std::vector<char> block(1 << 18);
  la_ssize_t got = 0;
  while ((got = archive_read_data(reader.get(), block.data(), block.size())) > 0) {
    text.append(block.data(), size_t(got));
    user_check(text.size() <= kMaxFileBytes,
               path + " holds more than 8 GiB of text: cut it into parts");
  }
  if (got < 0) fail();
  return text;
}

std::vector<TextPair> read_aligned(const std::string& first, const std::string& second,
                                   Counts& skipped) {
  const std::string text_a = read_file(first), text_b = read_file(second);
  const std::vector<std::string_view> a = split_at(text_a, '\n'), b = split_at(text_b, '\n');
  for (const auto& [lines, path] : {std::pair(&a, &first), std::pair(&b, &second)})
    user_check(!lines->empty(), concat(*path, " is empty: expected one sentence on each line"));
  user_check(a.size() == b.size(),
             concat("unequal line counts: ", first, " has ", a.size(), ", ", second, " has ",
                    b.size(), "; line i of both must be the same sentence"));
  std::vector<TextPair> pairs;
  for (size_t i = 0; i < a.size(); ++i) {
    const char* fault = line_fault(a[i]);
    if (!fault) fault = line_fault(b[i]);
    if (fault) ++skipped[fault];
    else pairs.emplace_back(without_return(a[i]), without_return(b[i]));
  }
  return pairs;
}

}  // namespace switchyard
