#include <unicode/ucnv.h>
#include <unicode/unistr.h>

#include <cstring>
#include <filesystem>
#include <memory>
#include <unordered_set>

#include "data/text_files.h"

namespace fs = std::filesystem;

namespace switchyard {
namespace {

constexpr size_t kMaxMessageBytes = 1 << 16;
constexpr uint32_t kMagic = 0x950412de;

using Converter = std::unique_ptr<UConverter, decltype(&ucnv_close)>;

// header: "... charset=NAME ...". "CHARSET" is the template's placeholder.
Converter open_converter(const std::string& header) {
  const size_t at = header.find("charset=");
  std::string name = at == std::string::npos ? "" : header.substr(at + 8);
  name.resize(std::min(name.find_first_of(" ;\t\r\n"), name.size()));
  if (name.empty() || name == "CHARSET") name = "UTF-8";
  UErrorCode status = U_ZERO_ERROR;
  Converter converter(ucnv_open(name.c_str(), &status), ucnv_close);
  user_check(U_SUCCESS(status), "unknown charset " + name);
  ucnv_setToUCallBack(converter.get(), UCNV_TO_U_CALLBACK_STOP, nullptr, nullptr, nullptr, &status);
  return converter;
}

// To UTF-8; false: not valid in its charset.
bool decode(std::string& text, UConverter* converter) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::UnicodeString wide(text.data(), int32_t(text.size()), converter, status);
  text.clear();
  wide.toUTF8String(text);
  return U_SUCCESS(status);
}

// The rules that .mo and .po share. A NUL separates singular and plural, byte 4 a context from the message.
std::vector<TextPair> decode_entries(std::vector<TextPair> entries, Counts& skipped) {
  const auto header = std::ranges::find(entries, std::string(), &TextPair::first);
  const Converter converter = open_converter(header == entries.end() ? "" : header->second);
  std::vector<TextPair> messages;
  for (auto& [source, target] : entries) {
    source.erase(0, source.find('\4') + 1);  // npos + 1 = 0
    const char* why = nullptr;
    if (source.empty()) why = "header";
    else if ((source + target).find('\0') != std::string::npos) why = "plural form";
    else if (target.empty()) why = "not translated";
    else if (std::max(source.size(), target.size()) > kMaxMessageBytes) why = "message too long";
    else if (!decode(source, converter.get()) || !decode(target, converter.get()))
      why = "invalid characters";
    if (why) ++skipped[why];
    else messages.emplace_back(std::move(source), std::move(target));
  }
  return messages;
}

}  // namespace

std::vector<TextPair> read_mo(std::string_view bytes, Counts& skipped) {
  const uint64_t size = bytes.size();
  user_check(size >= 20, "shorter than the header of a .mo file");
  bool swapped = false;
  const auto u32 = [&](uint64_t at) -> uint64_t {  // callers have checked at + 4 <= size
    uint32_t v = 0;
    std::memcpy(&v, bytes.data() + at, 4);
    return swapped ? __builtin_bswap32(v) : v;
  };
  swapped = u32(0) != kMagic;
  user_check(u32(0) == kMagic, "not a .mo file (magic number)");
  user_check(u32(4) >> 16 <= 1, "unknown .mo revision");
  const uint64_t n = u32(8), originals = u32(12), translations = u32(16);
  user_check(std::max(originals, translations) + 8 * n <= size,
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
  std::vector<TextPair> entries;
  for (uint64_t i = 0; i < n; ++i)
    entries.emplace_back(text(originals + 8 * i), text(translations + 8 * i));
  return decode_entries(std::move(entries), skipped);
}

namespace {

std::string_view trimmed(std::string_view text) {
  constexpr const char* blanks = " \t\r\v\f";
  text.remove_prefix(std::min(text.find_first_not_of(blanks), text.size()));
  return text.substr(0, text.find_last_not_of(blanks) + 1);
}

// Appends the value of a quoted string; false when the text is not exactly one.
bool unquote(std::string_view text, std::string& out) {
  constexpr std::string_view names = "ntr\"\\", values = "\n\t\r\"\\";
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '"') return i + 1 == text.size();
    const bool escape = text[i] == '\\' && i + 1 < text.size();
    const size_t k = escape ? names.find(text[i + 1]) : names.npos;
    out += k == names.npos ? text[i] : values[k];
    i += k != names.npos;
  }
  return false;
}

}  // namespace

std::vector<TextPair> read_po(std::string_view text, Counts& skipped) {
  std::vector<TextPair> entries;
  std::map<std::string, std::string> fields;  // of an entry: keyword -> value
  std::string* value = nullptr;               // where a continuation line goes
  bool fuzzy = false, broken = false;
  // "msgstr" and "msgstr[0]" sort behind the other keywords
  const auto translated = [&] { return fields.lower_bound("msgstr") != fields.end(); };
  const auto end_entry = [&] {
    const auto id = fields.find("msgid");
    const char* why = nullptr;
    if (broken) why = "malformed entry";
    else if (id == fields.end()) why = "";
    else if (fuzzy && !id->second.empty()) why = "fuzzy";
    else if (fields.contains("msgid_plural")) why = "plural form";
    if (!why) entries.emplace_back(id->second, fields["msgstr"]);
    else if (*why) ++skipped[why];
    fields.clear();
    value = nullptr;
    fuzzy = broken = false;
  };
  for (std::string_view line : split_at(text, '\n')) {
    line = trimmed(line);
    if (line.empty() || line.starts_with("#~") || (line[0] == '#' && translated())) end_entry();
    fuzzy |= line.starts_with("#,") && line.find("fuzzy") != line.npos;
    if (line.starts_with("#~ msgid ")) ++skipped["obsolete"];
    if (line.empty() || line[0] == '#') continue;
    const size_t quote = std::min(line.find('"'), line.size());
    const std::string_view keyword = trimmed(line.substr(0, quote));
    if (!keyword.empty()) {
      if ((keyword == "msgctxt" || keyword == "msgid") && translated()) end_entry();
      value = keyword.starts_with("msg") ? &fields[std::string(keyword)] : nullptr;
    }
    broken |= !value || !unquote(line.substr(quote), *value);
  }
  end_entry();
  return decode_entries(std::move(entries), skipped);
}

std::map<std::string, std::vector<std::string>> find_catalogues(const std::string& folder) {
  std::error_code ec;
  user_check(fs::is_directory(folder, ec), concat("--gettext ", folder, ": no such folder"));
  std::map<std::string, std::vector<std::string>> found;
  const auto add = [&](const std::string& lang, const fs::directory_entry& file) {
    const std::string name = file.path().filename(), type = file.path().extension();
    if ((type == ".mo" || type == ".po") && !name.starts_with("iso_") && file.is_regular_file(ec))
      found[lang].push_back(file.path());
  };
  constexpr auto options = fs::directory_options::skip_permission_denied;
  for (const fs::directory_entry& top : fs::directory_iterator(folder, options)) {
    add(top.path().stem(), top);
    if (!top.is_directory(ec)) continue;
    for (const fs::directory_entry& file : fs::recursive_directory_iterator(top, options))
      add(top.path().filename(), file);
  }
  user_check(!found.empty(),
             concat("--gettext ", folder,
                    ": no message catalogues (.mo, .po) there; slim images strip them: "
                    "give another folder, or train without --data on the synthetic task"));
  // the folder's own order differs between machines
  for (auto& [lang, files] : found) std::ranges::sort(files);
  return found;
}

std::vector<TextPair> read_catalogues(const std::vector<std::string>& files, Counts& skipped) {
  std::vector<TextPair> messages;
  std::unordered_set<std::string> seen;
  for (const std::string& file : files) {
    try {
      const std::string bytes = read_file(file);
      for (TextPair& m :
           file.ends_with(".mo") ? read_mo(bytes, skipped) : read_po(bytes, skipped)) {
        if (seen.insert(m.first).second) messages.push_back(std::move(m));
        else ++skipped["repeated message"];
      }
    } catch (const UserError&) {
      ++skipped["unusable file"];
    }
  }
  return messages;
}

}  // namespace switchyard
