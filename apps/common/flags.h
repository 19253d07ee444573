// Command lines: each option is written once, in the visit() of the config struct that owns its value.
// Default, help text, parsing, config.toml, and the copy in the checkpoint follow from that line:
//   struct HmoeConfig {
//     int strata = 0;
//     template <class V> void visit(V&& v) { v(strata, "hmoe-layer", "number of strata; 0 = vanilla"); }
//   };
// Precedence: default < preset < --config FILE < command line. A repeated option takes the last value.
// Booleans accept nothing, 0/1, true/false. Unknown names are errors that suggest the nearest one.
#pragma once
#include <algorithm>
#include <charconv>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "data/utf8.h"
#include "tensor/check.h"

namespace switchyard {

// One option, type-erased: what flags.cpp needs to parse and print it.
struct Option {
  std::vector<std::string> names;  // the name, then its aliases
  std::string help, group;
  std::string type;                               // TEXT (quoted in TOML), INTEGER, NUMBER or 0|1
  std::function<void(const std::string&)> parse;  // throws UserError with a one-line reason
  std::function<std::string()> print = {};        // current value as text; empty = has no value
};

namespace flags {

// The whole text must be one value: "12abc", "", "1e400" end in require(false, "what was expected").
template <class T, class Require>
T parse_value(const std::string& text, const Require& require) {
  if constexpr (std::is_same_v<T, std::string>) {
    return text;
  } else if constexpr (std::is_same_v<T, bool>) {  // "" = a flag without a value
    const bool yes = text.empty() || text == "1" || text == "true";
    require(yes || text == "0" || text == "false", "one of 0, 1, true, false");
    return yes;
  } else if constexpr (std::is_arithmetic_v<T>) {
    using Limits = std::numeric_limits<T>;
    T value{};
    const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool finite = value - value == 0;
    require(error == std::errc() && stop == text.data() + text.size() && finite,
            std::is_integral_v<T> ? concat("an integer from ", Limits::min(), " to ", Limits::max())
                                  : "a finite number such as 0.1 or 1e-6");
    return value;
  } else {  // std::optional: "none" = empty
    return text == "none" ? T() : T(parse_value<typename T::value_type>(text, require));
  }
}

// The shortest text that reads back as the same value.
template <class T>
std::string print_value(const T& value) {
  if constexpr (std::is_same_v<T, std::string>) return value;
  else if constexpr (std::is_arithmetic_v<T>) return nlohmann::json(value).dump();
  else if constexpr (std::is_same_v<T, std::vector<std::string>>) return join(value, ",");
  else return value ? print_value(*value) : "none";
}

}  // namespace flags

// The visitor that config structs see: v(field, name, help), v(field, name, help, {choices}), v.group("Title").
// A nested struct is visited by calling its visit(v). Aliases follow the name: v(dtype, "precision,dtype", ...).
class OptionList {
 public:
  std::vector<Option> options;
  std::optional<Option> rest = {};  // what words without an option are, if they may be

  void group(const std::string& title) { group_ = title; }

  // A list of texts takes one more value each time it is given.
  template <
      class T>  // int, int64_t, double, bool, std::string, std::optional of a number, list of texts
  void operator()(T& field, const std::string& names, const std::string& help,
                  const std::vector<std::string>& choices = {}) {  // empty = any
    Option option = {split_list(names), help, group_, "NUMBER", {}};
    if (std::is_same_v<T, bool>) option.type = "0|1";
    else if (std::is_integral_v<T>) option.type = "INTEGER";
    else if (std::is_same_v<T, std::string> || kIsList<T>) option.type = "TEXT";
    const std::string initial = flags::print_value(field);
    if (!choices.empty()) option.help += " {" + join(choices, ",") + "}";
    option.help += " [" + (initial.empty() ? "\"\"" : initial) + "]";
    option.print = [&field] { return flags::print_value(field); };
    option.parse = [&field, name = option.names[0], choices](const std::string& text) {
      const auto require = [&](bool ok, const std::string& expected) {
        user_check(ok, concat("--", name, ": '", text, "' is not ", expected));
      };
      require(choices.empty() || std::count(choices.begin(), choices.end(), text) > 0,
              "one of " + join(choices, ", "));
      if constexpr (kIsList<T>) field.push_back(text);
      else field = flags::parse_value<T>(text, require);
    };
    options.push_back(std::move(option));
  }

  // Words that are no option and no option's value; without this they are errors.
  void arguments(std::vector<std::string>& field, const std::string& name,
                 const std::string& help) {
    rest = {{name}, help, group_, "", [&](const std::string& word) { field.push_back(word); }};
  }

  // An option of the reference that changes nothing here: accepted with a note.
  void accepted(const std::string& name, const std::string& why) {
    known(name, "changes nothing here: " + why, [](const std::string&) {});
  }
  // An option whose feature is not there yet: refused with this reason.
  void refused(const std::string& name, const std::string& why) {
    const std::string reason = "is refused: " + why;
    known(name, reason, [=](const auto&) { throw UserError(concat("--", name, " ", reason)); });
  }

 private:
  template <class T>
  static constexpr bool kIsList = std::is_same_v<T, std::vector<std::string>>;

  void known(const std::string& name, const std::string& help,
             std::function<void(const std::string&)> parse) {
    options.push_back({{name}, help, "Known but without effect", "", std::move(parse)});
  }

  std::string group_ = "Options";
};

template <class Config>
OptionList option_list(Config& config) {
  OptionList list;
  config.visit(list);
  return list;
}

struct ParseResult {
  std::optional<int> exit_code;  // --help or --version: print `text`, stop with this code
  std::string text;
  std::vector<std::string> notes;  // accepted-and-ignored options, for the banner
};

// Presets: name -> words as on the command line, "--lr 0.1 --hmoe-layer 2".
using Presets = std::map<std::string, std::string>;

// Parses args into the fields behind `list`. about: the first line of --help. Throws UserError.
ParseResult parse_flags(const OptionList& list, const std::vector<std::string>& args,
                        const std::string& app, const std::string& about,
                        const Presets& presets = {});

// main() of a program without ranks: what `run` throws becomes one line and exit code 2 for a UserError, else 1.
int tool_main(const std::string& app, int argc, char** argv,
              int (*run)(const std::vector<std::string>& args));

// All options as valid TOML (tables by group are not used: flat keys), readable with --config.
std::string to_toml(const OptionList& list);
// Sets fields from such a text, which may come from a person. Unknown keys are errors.
void from_toml(const OptionList& list, const std::string& text, const std::string& origin);

}  // namespace switchyard
