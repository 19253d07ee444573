// Values as text and options as flat TOML: what is printed reads back as exactly the same value.
#include <nlohmann/json.hpp>
#include <set>

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

// Reads one line `name = value # comment`; a value is "text", 'text', a number, true or false.
// False: nothing but blanks or a comment.
bool read_line(const std::string& line, const std::string& where, std::string& name,
               std::string& value) {
  const auto require = [&](bool ok, const char* what) { user_check(ok, where + what); };
  const auto skip_blanks = [&](size_t at) {
    return std::min(line.find_first_not_of(" \t\r", at), line.size());
  };
  const auto word_at = [&](size_t at) {
    return line.substr(at, line.find_first_of("=# \t\r", at) - at);
  };
  size_t at = skip_blanks(0);
  if (at == line.size() || line[at] == '#') return false;
  name = word_at(at);
  at = skip_blanks(at + name.size());
  require(at < line.size() && line[at] == '=', "expected `name = value` (no tables)");
  at = skip_blanks(at + 1);
  const char quote = at < line.size() ? line[at] : ' ';
  if (quote == '"' || quote == '\'') {
    size_t end = at + 1;
    while (end < line.size() && line[end] != quote)
      end += quote == '"' && line[end] == '\\' ? 2 : 1;
    require(end < line.size(), "a quoted text does not end on its line");
    value = line.substr(at + 1, end - at - 1);
    if (quote == '"') {  // a basic text with the escapes of JSON
      const nlohmann::json text = nlohmann::json::parse('"' + value + '"', nullptr, false);
      require(text.is_string(), "unknown escape in a quoted text");
      value = text.get<std::string>();
    }
    at = end + 1;
  } else {
    value = word_at(at);
    require(!value.empty(), "a value is missing");
    user_check(
        value == "true" || value == "false" ||
            value.find_first_not_of("+-.0123456789eE") == std::string::npos,
        concat(where, "'", value, "' is no TOML value for an option; write texts in quotes"));
    at += value.size();
  }
  at = skip_blanks(at);
  require(at == line.size() || line[at] == '#', "something follows the value");
  return true;
}

}  // namespace

std::string to_toml(const OptionList& list) {
  std::string out, group;
  for (const Option& option : list.options) {
    if (option.group != group) out += concat(out.empty() ? "" : "\n", "# ", option.group, "\n");
    group = option.group;
    const std::string value = option.print();
    // JSON's escapes are TOML's; an empty optional number is the text "none": TOML has no null
    const bool text = option.type_name == "TEXT" || value == "none";
    out += concat(option.name, " = ", text ? nlohmann::json(value).dump() : value, "\n");
  }
  return out;
}

void from_toml(OptionList& list, const std::string& text, const std::string& origin) {
  std::set<std::string> seen;
  std::istringstream lines(text);
  std::string line, key, value;
  for (int number = 1; std::getline(lines, line); ++number) {
    const std::string where = concat(origin, ":", number, ": ");
    if (!read_line(line, where, key, value)) continue;
    user_check(seen.insert(key).second, concat(where, "'", key, "' is given twice"));
    assign_option(list, key, value, where);
  }
}

}  // namespace switchyard
