// Values as text and options as flat TOML: what is printed reads back as exactly the same value.
#include <charconv>
#include <cmath>
#include <limits>
#include <set>

#include "apps/common/flags.h"
#include "data/utf8.h"

namespace switchyard {
namespace flags {
namespace {

template <class T>
void parse_number(const std::string& text, T& value, const std::string& expected) {
  const char* end = text.data() + text.size();
  T parsed{};
  const auto [stop, error] = std::from_chars(text.data(), end, parsed);
  bool ok = error == std::errc() && stop == end;
  if constexpr (std::is_floating_point_v<T>) ok = ok && std::isfinite(parsed);
  user_check(ok, expected);
  value = parsed;
}

template <class T>
std::string integer_range() {
  using Limits = std::numeric_limits<T>;
  return concat("an integer from ", Limits::min(), " to ", Limits::max());
}

}  // namespace

void parse_value(const std::string& text, int& value) {
  parse_number(text, value, integer_range<int>());
}
void parse_value(const std::string& text, int64_t& value) {
  parse_number(text, value, integer_range<int64_t>());
}
void parse_value(const std::string& text, double& value) {
  parse_number(text, value, "a finite number such as 0.1 or 1e-6");
}
void parse_value(const std::string& text, bool& value) {
  const bool yes = text.empty() || text == "1" || text == "true";
  user_check(yes || text == "0" || text == "false", "one of 0, 1, true, false");
  value = yes;
}
void parse_value(const std::string& text, std::string& value) { value = text; }

std::string print_value(int value) { return std::to_string(value); }
std::string print_value(int64_t value) { return std::to_string(value); }
std::string print_value(double value) {
  char buffer[32];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof(buffer), value);
  check(error == std::errc(), "a double needs at most 24 characters");
  std::string text(buffer, end);
  // TOML tells 1.0 from the integer 1
  return text.find_first_of(".en") == std::string::npos ? text + ".0" : text;
}
std::string print_value(bool value) { return value ? "true" : "false"; }
std::string print_value(const std::string& value) { return value; }

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

// Reads `key = value` lines: strings in "..." or '...', integers, floats, booleans, comments.
class TomlLine {
 public:
  TomlLine(const std::string& line, const std::string& where) : line_(line), where_(where) {}

  // False for an empty line or a comment.
  bool read(std::string& key, std::string& value) {
    if (at_end()) return false;
    key = next() == '"' || next() == '\'' ? quoted_text() : bare("=");
    require(!at_end() && next() == '=', "expected `name = value` (no tables)");
    ++at_;
    require(!at_end(), "a value is missing");
    require(next() != '[' && next() != '{', "arrays and tables are not options");
    if (next() == '"' || next() == '\'') {
      value = quoted_text();
    } else {
      value = bare("#");
      number_ok(value);
    }
    require(at_end(), "something follows the value");
    return true;
  }

 private:
  char next() const { return line_[at_]; }
  // Skips blanks; a comment counts as the end.
  bool at_end() {
    while (at_ < line_.size() && (next() == ' ' || next() == '\t' || next() == '\r')) ++at_;
    return at_ == line_.size() || next() == '#';
  }
  void require(bool ok, const std::string& what) const { user_check(ok, where_ + what); }

  std::string bare(const std::string& stop) {
    const size_t from = at_;
    at_ = std::min(line_.find_first_of(stop + " \t\r", at_), line_.size());
    return line_.substr(from, at_ - from);
  }

  // TOML allows 1_000 and +1, which the options' own parsers do not.
  void number_ok(std::string& value) const {
    const bool word = value == "true" || value == "false";
    require(word || value.find_first_not_of("+-_.0123456789eE") == std::string::npos,
            concat("'", value, "' is no TOML value; write texts in quotes"));
    if (!word) std::erase(value, '_');
    if (value[0] == '+') value.erase(0, 1);
  }

  std::string quoted_text() {
    const char quote = line_[at_++];
    std::string out;
    for (;; ++at_) {
      require(at_ < line_.size(), "a quoted text does not end on its line");
      if (next() == quote) break;
      if (next() != '\\' || quote == '\'') out += next();
      else escape(out);
    }
    ++at_;
    return out;
  }

  void escape(std::string& out) {
    static const std::string letters = "btnfr\"\\", meanings = "\b\t\n\f\r\"\\";
    require(++at_ < line_.size(), "a quoted text does not end on its line");
    if (const size_t i = letters.find(next()); i != std::string::npos) {
      out += meanings[i];
      return;
    }
    const size_t digits = next() == 'u' ? 4 : next() == 'U' ? 8 : 0;
    uint32_t code = 0;
    const char* from = line_.data() + at_ + 1;
    const bool enough = digits > 0 && at_ + digits < line_.size();
    require(enough && std::from_chars(from, from + digits, code, 16).ptr == from + digits &&
                code < 0x110000 && (code < 0xD800 || code > 0xDFFF),
            "unknown escape in a quoted text");
    append_utf8(out, static_cast<UChar32>(code));
    at_ += digits;
  }

  const std::string& line_;
  std::string where_;
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
