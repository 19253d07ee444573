// Values as text and options as flat TOML: what is printed reads back as exactly the same value.
#include <charconv>
#include <set>
#include <utility>

#include "apps/common/flags.h"

namespace switchyard {
namespace flags {
std::string join(const std::vector<std::string>& parts, const std::string& between) {
  std::string out;
  for (const std::string& part : parts) out += (&part == parts.data() ? "" : between) + part;
  return out;
}

}  // namespace flags

namespace {

std::string quoted(const std::string& text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') out += {'\\', c};
    else if (byte < 0x20 || byte == 0x7f)  // control characters
      out += {'\\', 'u', '0', '0', kHex[byte >> 4], kHex[byte & 15]};
    else out += c;
  }
  return out + '"';
}

// Reads one line `name = value # comment`; a value is "text", 'text', a number, true or false.
class TomlLine {
 public:
  TomlLine(const std::string& line, const std::string& where) : line_(line), where_(where) {}

  // False for an empty line or a comment.
  bool read(std::string& key, std::string& value) {
    if (at_end()) return false;
    key = bare();
    require(!at_end() && line_[at_++] == '=', "expected `name = value` (no tables)");
    require(!at_end(), "a value is missing");
    const bool is_quoted = line_[at_] == '"' || line_[at_] == '\'';
    value = is_quoted ? quoted_text() : bare();
    require(is_quoted || value == "true" || value == "false" ||
                value.find_first_not_of("+-.0123456789eE") == std::string::npos,
            concat("'", value, "' is no TOML value for an option; write texts in quotes"));
    require(at_end(), "something follows the value");
    return true;
  }

 private:
  void require(bool ok, const std::string& what) const { user_check(ok, where_ + what); }

  bool at_end() {  // skips blanks; a comment counts as the end
    at_ = std::min(line_.find_first_not_of(" \t\r", at_), line_.size());
    return at_ == line_.size() || line_[at_] == '#';
  }

  std::string bare() {
    const size_t from =
        std::exchange(at_, std::min(line_.find_first_of("=# \t\r", at_), line_.size()));
    return line_.substr(from, at_ - from);
  }

  std::string quoted_text() {
    const char quote = line_[at_++];
    std::string out;
    for (; at_ < line_.size() && line_[at_] != quote; ++at_) {
      if (line_[at_] == '\\' && quote == '"') append_utf8(out, escaped());
      else out += line_[at_];
    }
    require(at_++ < line_.size(), "a quoted text does not end on its line");
    return out;
  }

  // \n, \", \u00e9, \U0001F44D: leaves at_ on the last character
  UChar32 escaped() {
    static const std::string letters = "btnfr\"\\", meanings = "\b\t\n\f\r\"\\";
    const char letter = ++at_ < line_.size() ? line_[at_] : ' ';
    if (const size_t i = letters.find(letter); i < letters.size()) return meanings[i];
    const std::string digits = line_.substr(at_, letter == 'u' ? 5 : letter == 'U' ? 9 : 0);
    uint32_t code = 0;
    const char* end = digits.data() + digits.size();
    require(digits.size() >= 5 && std::from_chars(digits.data() + 1, end, code, 16).ptr == end &&
                digits.size() == (letter == 'u' ? 5 : 9) && code < 0x110000 &&
                (code < 0xD800 || code > 0xDFFF),
            "unknown escape in a quoted text");
    at_ += digits.size() - 1;
    return static_cast<UChar32>(code);
  }

  const std::string& line_;
  const std::string& where_;
  size_t at_ = 0;
};

}  // namespace

std::string to_toml(const OptionList& list) {
  std::string out, group;
  for (const Option& option : list.options) {
    if (option.group != group) out += concat(out.empty() ? "" : "\n", "# ", option.group, "\n");
    group = option.group;
    const std::string value = option.print();
    // an empty optional number is the text "none": TOML has no null
    out +=
        concat(option.name, " = ", option.is_text || value == "none" ? quoted(value) : value, "\n");
  }
  return out;
}

void from_toml(OptionList& list, const std::string& text, const std::string& origin) {
  std::set<std::string> seen;
  std::istringstream lines(text);
  std::string line, key, value;
  for (int number = 1; std::getline(lines, line); ++number) {
    const std::string where = concat(origin, ":", number, ": ");
    if (!TomlLine(line, where).read(key, value)) continue;
    user_check(seen.insert(key).second, concat(where, "'", key, "' is given twice"));
    assign_option(list, key, value, where);
  }
}

}  // namespace switchyard
