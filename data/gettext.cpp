#include "data/gettext.h"

#include <unicode/ucnv.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <memory>
#include <unordered_set>

#include "data/text_files.h"
#include "tensor/check.h"

namespace fs = std::filesystem;

namespace switchyard {
namespace {

constexpr uint64_t kMaxMessageBytes = 1 << 16;

// "charset=NAME" of a catalogue's header entry; empty when there is none.
std::string charset_of(std::string_view header) {
  const size_t at = header.find("charset=");
  if (at == std::string_view::npos) return {};
  std::string name;
  for (char c : header.substr(at + 8)) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_' && c != ':' &&
        c != '.')
      break;
    name += char(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

// Converts text of one charset to UTF-8 with ICU.
class Decoder {
 public:
  explicit Decoder(const std::string& charset) : converter_(nullptr, ucnv_close) {
    if (charset.empty() || charset == "UTF-8" || charset == "UTF8" || charset == "ASCII" ||
        charset == "US-ASCII" || charset == "CHARSET") {
      return;  // "CHARSET" is the template's placeholder: such files are ASCII
    }
    UErrorCode status = U_ZERO_ERROR;
    converter_.reset(ucnv_open(charset.c_str(), &status));
    user_check(U_SUCCESS(status) && converter_, concat("unknown charset ", charset));
  }
  bool decode(std::string& text) const {  // false: not valid in this charset
    if (converter_) {
      // to UTF-16 and back to UTF-8; undecodable bytes become U+FFFD
      std::vector<UChar> wide(text.size() * 2 + 16);
      UErrorCode status = U_ZERO_ERROR;
      const int32_t n = ucnv_toUChars(converter_.get(), wide.data(), int32_t(wide.size()),
                                      text.data(), int32_t(text.size()), &status);
      if (U_FAILURE(status)) return false;
      text.clear();
      for (int32_t i = 0; i < n;) {
        UChar32 c;
        U16_NEXT(wide.data(), i, n, c);
        if (c == 0xFFFD || U_IS_SURROGATE(c)) return false;
        append_utf8(text, c);
      }
    }
    return valid_utf8(text);
  }

 private:
  std::unique_ptr<UConverter, void (*)(UConverter*)> converter_;
};

// One entry as read, before decoding.
struct RawEntry {
  std::string source, target;
  bool fuzzy = false, plural = false, obsolete = false;
};

// The rules that .mo and .po share.
std::vector<Message> decode_entries(std::vector<RawEntry> entries, Counts& skipped) {
  std::string charset;
  for (const RawEntry& e : entries) {
    if (e.source.empty() && !e.obsolete) {
      charset = charset_of(e.target);
      break;
    }
  }
  const Decoder decoder(charset);
  std::vector<Message> messages;
  for (RawEntry& e : entries) {
    const size_t context = e.source.find('\4');
    if (context != std::string::npos) e.source.erase(0, context + 1);
    const char* why = nullptr;
    if (e.obsolete) why = "obsolete";
    else if (e.source.empty()) why = "header";
    else if (e.fuzzy) why = "fuzzy";
    else if (e.plural || e.source.find('\0') != std::string::npos ||
             e.target.find('\0') != std::string::npos)
      why = "plural form";
    else if (e.target.empty()) why = "not translated";
    else if (e.source.size() > kMaxMessageBytes || e.target.size() > kMaxMessageBytes)
      why = "message too long";
    else if (!decoder.decode(e.source) || !decoder.decode(e.target)) why = "invalid characters";
    if (why) ++skipped[why];
    else messages.push_back({std::move(e.source), std::move(e.target)});
  }
  return messages;
}

}  // namespace

std::vector<Message> read_mo(std::string_view bytes, Counts& skipped) {
  user_check(bytes.size() >= 20, "shorter than the header of a .mo file");
  bool swapped = false;
  const auto u32 = [&](uint64_t at) {  // callers have checked at + 4 <= size
    uint32_t v = 0;
    for (int i = 0; i < 4; ++i)
      v |= uint32_t(uint8_t(bytes[at + size_t(swapped ? 3 - i : i)])) << (8 * i);
    return v;
  };
  constexpr uint32_t kMagic = 0x950412de;
  if (u32(0) != kMagic) swapped = true;
  user_check(u32(0) == kMagic, "not a .mo file (magic number)");
  user_check(u32(4) >> 16 <= 1, concat("unknown .mo revision ", u32(4) >> 16));
  const uint64_t n = u32(8), originals = u32(12), translations = u32(16), size = bytes.size();
  user_check(originals + 8 * n <= size && translations + 8 * n <= size,
             "a table reaches beyond the end of the file");
  uint64_t total = 0;
  const auto text = [&](uint64_t table, uint64_t i) {
    const uint64_t length = u32(table + 8 * i), offset = u32(table + 8 * i + 4);
    user_check(offset + length < size, concat("string ", i, " reaches beyond the end of the file"));
    user_check(bytes[offset + length] == '\0', concat("string ", i, " does not end with NUL"));
    total += length + 1;
    user_check(total <= 2 * size,
               "strings overlap");  // bounds the work that a small hostile file can ask for
    return std::string(bytes.substr(offset, length));
  };
  std::vector<RawEntry> entries;
  for (uint64_t i = 0; i < n; ++i) {
    RawEntry e;
    e.source = text(originals, i);
    e.target = text(translations, i);
    entries.push_back(std::move(e));
  }
  return decode_entries(std::move(entries), skipped);
}

namespace {

// The value of a quoted line; false when it is not one.
bool unquote(std::string_view line, std::string& out) {
  if (line.size() < 2 || line.front() != '"' || line.back() != '"') return false;
  line = line.substr(1, line.size() - 2);
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '"') return false;
    if (line[i] != '\\') {
      out += line[i];
      continue;
    }
    if (++i == line.size()) return false;
    constexpr std::string_view names = "ntr\"\\", values = "\n\t\r\"\\";
    const size_t k = names.find(line[i]);
    if (k == std::string_view::npos) out += '\\', out += line[i];
    else out += values[k];
  }
  return true;
}

}  // namespace

std::vector<Message> read_po(std::string_view text, Counts& skipped) {
  std::vector<RawEntry> entries;
  RawEntry entry;
  std::string ignored;           // values that are not kept: context, plurals
  std::string* value = nullptr;  // where a continuation line goes
  bool has_id = false, done = false, broken = false;
  const auto flush = [&] {
    if (broken) ++skipped["malformed entry"];
    else if (has_id) entries.push_back(std::move(entry));
    entry = {}, value = nullptr, has_id = done = broken = false;
  };
  for (size_t i = 0; i < text.size();) {
    const size_t end = std::min(text.find('\n', i), text.size());
    std::string_view line = text.substr(i, end - i);
    i = end + 1;
    while (!line.empty() && std::isspace(static_cast<unsigned char>(line.back())))
      line.remove_suffix(1);
    while (!line.empty() && std::isspace(static_cast<unsigned char>(line.front())))
      line.remove_prefix(1);
    if (line.empty()) {
      flush();
      continue;
    }
    bool obsolete = false;
    if (line[0] == '#') {
      obsolete = line.substr(0, 2) == "#~";
      if (!obsolete) {
        if (done) flush();
        if (line.substr(0, 2) == "#," && line.find("fuzzy") != std::string_view::npos)
          entry.fuzzy = true;
        continue;
      }
      line.remove_prefix(2);
      line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
      if (line.empty() || line[0] == '|') continue;  // "#~|": a previous message
    }
    if (line[0] == '"') {
      if (!value || !unquote(line, *value)) broken = true;
      continue;
    }
    const size_t space = std::min(line.find(' '), line.size());
    const std::string_view keyword = line.substr(0, space);
    const std::string_view rest = line.substr(std::min(space + 1, line.size()));
    if ((keyword == "msgctxt" || keyword == "msgid") && done) flush();
    entry.obsolete |= obsolete;
    ignored.clear();
    value = &ignored;
    if (keyword == "msgid") value = &entry.source, has_id = true;
    else if (keyword == "msgstr") value = &entry.target, done = true;
    else if (keyword == "msgid_plural") entry.plural = true;
    else if (keyword.substr(0, 7) == "msgstr[") entry.plural = done = true;
    else if (keyword != "msgctxt") broken = true;
    if (!unquote(rest, *value)) broken = true;
  }
  flush();
  return decode_entries(std::move(entries), skipped);
}

namespace {

bool is_catalogue(const fs::path& path) {
  const std::string name = path.filename().string();
  return (path.extension() == ".mo" || path.extension() == ".po") && name.substr(0, 4) != "iso_";
}

std::vector<std::string> catalogue_files(const fs::path& folder, const std::string& lang) {
  std::vector<std::string> files;
  std::error_code ec;
  const auto options = fs::directory_options::skip_permission_denied;
  for (fs::recursive_directory_iterator it(folder / lang, options, ec), end; !ec && it != end;
       it.increment(ec)) {
    std::error_code type_error;
    if (is_catalogue(it->path()) && it->is_regular_file(type_error))
      files.push_back(it->path().string());
  }
  const fs::path single = folder / (lang + ".po");
  if (fs::is_regular_file(single, ec)) files.push_back(single.string());
  std::sort(files.begin(), files.end());  // the folder's own order differs between machines
  return files;
}

}  // namespace

std::vector<std::string> catalogue_languages(const std::string& folder) {
  std::error_code ec;
  user_check(fs::is_directory(folder, ec), concat("--gettext ", folder, ": no such folder"));
  std::vector<std::string> langs;
  for (fs::directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec)) {
    const bool single = it->path().extension() == ".po";
    const std::string lang = single ? it->path().stem().string() : it->path().filename().string();
    if (single || (it->is_directory(ec) && !catalogue_files(folder, lang).empty()))
      langs.push_back(lang);
  }
  std::sort(langs.begin(), langs.end());
  langs.erase(std::unique(langs.begin(), langs.end()), langs.end());
  user_check(!langs.empty(),
             concat("--gettext ", folder,
                    ": no message catalogues (.mo, .po) there; slim images strip them: "
                    "give another folder, or train without --data on the synthetic task"));
  return langs;
}

CatalogueSet read_catalogues(const std::string& folder, const std::string& lang) {
  CatalogueSet set;
  std::unordered_set<std::string> seen;
  for (const std::string& file : catalogue_files(folder, lang)) {
    std::vector<Message> messages;
    try {
      const std::string bytes = read_file(file);
      messages = fs::path(file).extension() == ".mo" ? read_mo(bytes, set.skipped)
                                                     : read_po(bytes, set.skipped);
    } catch (const UserError&) {
      ++set.skipped["unusable file"];
      continue;
    }
    ++set.files;
    for (Message& m : messages) {
      if (seen.insert(m.source).second) set.messages.push_back(std::move(m));
      else ++set.skipped["repeated message"];
    }
  }
  return set;
}

}  // namespace switchyard
