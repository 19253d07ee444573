#include "data/gettext.h"

#include <unicode/ucnv.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <unordered_set>

#include "data/text_files.h"
#include "tensor/check.h"

namespace fs = std::filesystem;

namespace switchyard {
namespace {

constexpr uint64_t kMaxMessageBytes = 1 << 16;
constexpr uint32_t kMagic = 0x950412de;

using Decoder = std::function<bool(std::string&)>;  // to UTF-8; false: not valid in its charset

// header: "... charset=NAME ...". "CHARSET" is the template's placeholder: such files are ASCII.
Decoder decoder_for(const std::string& header) {
  const size_t at = header.find("charset=");
  std::string name = at == std::string::npos ? "" : header.substr(at + 8);
  name.resize(std::min(name.find_first_of(" ;\t\r\n"), name.size()));
  for (char& c : name) c = char(std::toupper(static_cast<unsigned char>(c)));
  for (const char* plain : {"", "UTF-8", "UTF8", "ASCII", "US-ASCII", "CHARSET"})
    if (name == plain) return [](std::string& text) { return valid_utf8(text); };
  UErrorCode status = U_ZERO_ERROR;
  const std::shared_ptr<UConverter> converter(ucnv_open(name.c_str(), &status), ucnv_close);
  user_check(U_SUCCESS(status), "unknown charset " + name);
  return [converter](std::string& text) {  // undecodable bytes become U+FFFD
    UErrorCode failure = U_ZERO_ERROR;
    const icu::UnicodeString wide(text.data(), int32_t(text.size()), converter.get(), failure);
    text.clear();
    wide.toUTF8String(text);
    return U_SUCCESS(failure) && text.find("\uFFFD") == std::string::npos;
  };
}

// One entry as read, before decoding. skip: why it is left out.
struct RawEntry {
  std::string source, target;
  std::string_view skip = {};
};
constexpr std::string_view kObsolete = "obsolete", kPlural = "plural form";

// The rules that .mo and .po share.
std::vector<Message> decode_entries(std::vector<RawEntry> entries, Counts& skipped) {
  const auto is_header = [](const RawEntry& e) { return e.source.empty() && e.skip != kObsolete; };
  const auto header = std::ranges::find_if(entries, is_header);
  const Decoder decode = decoder_for(header == entries.end() ? "" : header->target);
  std::vector<Message> messages;
  for (RawEntry& e : entries) {
    const size_t context = e.source.find('\4');
    if (context != std::string::npos) e.source.erase(0, context + 1);
    const auto plural = [](const std::string& text) { return text.find('\0') != text.npos; };
    if (is_header(e)) e.skip = "header";
    else if (!e.skip.empty()) {
    } else if (plural(e.source) || plural(e.target)) e.skip = kPlural;
    else if (e.target.empty()) e.skip = "not translated";
    else if (std::max(e.source.size(), e.target.size()) > kMaxMessageBytes)
      e.skip = "message too long";
    else if (!decode(e.source) || !decode(e.target)) e.skip = "invalid characters";
    if (e.skip.empty()) messages.push_back({std::move(e.source), std::move(e.target)});
    else ++skipped[std::string(e.skip)];
  }
  return messages;
}

}  // namespace

std::vector<Message> read_mo(std::string_view bytes, Counts& skipped) {
  user_check(bytes.size() >= 20, "shorter than the header of a .mo file");
  uint32_t magic = 0;
  std::memcpy(&magic, bytes.data(), 4);
  const bool swapped = magic == __builtin_bswap32(kMagic);
  user_check(magic == kMagic || swapped, "not a .mo file (magic number)");
  const auto u32 = [&](uint64_t at) -> uint64_t {  // callers have checked at + 4 <= size
    uint32_t v = 0;
    std::memcpy(&v, bytes.data() + at, 4);
    return swapped ? __builtin_bswap32(v) : v;
  };
  user_check(u32(4) >> 16 <= 1, "unknown .mo revision");
  const uint64_t n = u32(8), originals = u32(12), translations = u32(16), size = bytes.size();
  user_check(originals + 8 * n <= size && translations + 8 * n <= size,
             "a table reaches beyond the end of the file");
  uint64_t total = 0;
  const auto text = [&](uint64_t at) {
    const uint64_t length = u32(at), offset = u32(at + 4);
    user_check(offset + length < size && bytes[offset + length] == '\0',
               "a string does not end with NUL inside the file");
    total += length + 1;
    // bounds the work that a small hostile file can ask for
    user_check(total <= 2 * size, "strings overlap");
    return std::string(bytes.substr(offset, length));
  };
  std::vector<RawEntry> entries;
  for (uint64_t i = 0; i < n; ++i)
    entries.push_back({text(originals + 8 * i), text(translations + 8 * i)});
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
  for (std::string_view line : split_at(text, '\n')) {
    constexpr const char* blanks = " \t\r\v\f";
    line.remove_prefix(std::min(line.find_first_not_of(blanks), line.size()));
    line = line.substr(0, line.find_last_not_of(blanks) + 1);
    const bool obsolete = line.starts_with("#~");
    if (line.empty() || (done && line[0] == '#' && !obsolete)) flush();
    if (line.starts_with("#,") && line.find("fuzzy") != line.npos) entry.skip = "fuzzy";
    if (obsolete) line.remove_prefix(std::min(line.find_first_not_of(' ', 2), line.size()));
    // comments; "#~|": a previous message
    if (line.empty() || line[0] == '#' || (obsolete && line[0] == '|')) continue;
    if (line[0] == '"') {
      broken |= !value || !unquote(line, *value);
      continue;
    }
    const size_t space = std::min(line.find(' '), line.size());
    const std::string_view keyword = line.substr(0, space);
    const bool plural = keyword == "msgid_plural" || keyword.starts_with("msgstr[");
    if ((keyword == "msgctxt" || keyword == "msgid") && done) flush();
    ignored.clear();
    value = &ignored;
    if (keyword == "msgid") value = &entry.source, has_id = true;
    else if (keyword == "msgstr") value = &entry.target;
    else if (!plural && keyword != "msgctxt") broken = true;
    done |= keyword.starts_with("msgstr");
    if (obsolete) entry.skip = kObsolete;
    else if (plural && entry.skip.empty()) entry.skip = kPlural;
    broken |= !unquote(line.substr(std::min(space + 1, line.size())), *value);
  }
  flush();
  return decode_entries(std::move(entries), skipped);
}

namespace {

std::vector<std::string> catalogue_files(const fs::path& folder, const std::string& lang) {
  std::vector<std::string> files;
  std::error_code ec;
  const auto options = fs::directory_options::skip_permission_denied;
  for (fs::recursive_directory_iterator it(folder / lang, options, ec), end; !ec && it != end;
       it.increment(ec)) {
    const fs::path& path = it->path();
    std::error_code type_error;
    if ((path.extension() == ".mo" || path.extension() == ".po") &&
        !path.filename().string().starts_with("iso_") && it->is_regular_file(type_error))
      files.push_back(path.string());
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
  std::set<std::string> langs;
  for (fs::directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec)) {
    const bool single = it->path().extension() == ".po";
    const std::string lang = (single ? it->path().stem() : it->path().filename()).string();
    if (single || !catalogue_files(folder, lang).empty()) langs.insert(lang);
  }
  user_check(!langs.empty(),
             concat("--gettext ", folder,
                    ": no message catalogues (.mo, .po) there; slim images strip them: "
                    "give another folder, or train without --data on the synthetic task"));
  return {langs.begin(), langs.end()};
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
