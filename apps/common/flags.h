// Command lines: each option is written once, in the visit() of the config struct that owns its value.
// Default, help text, parsing, config.toml, and the copy in the checkpoint follow from that line:
//   struct HmoeConfig {
//     int strata = 0;
//     template <class V> void visit(V&& v) { v(strata, "hmoe-layer", "number of strata; 0 = vanilla"); }
//   };
// Precedence: default < preset < --config FILE < command line. A repeated option takes the last value.
// Booleans accept nothing, 0/1, true/false. Unknown names are errors that suggest the nearest one.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace switchyard {

// One option, type-erased: what flags.cpp needs to parse and print it.
struct Option {
  std::string name, help, group;
  std::vector<std::string> names;                 // the name, then its aliases
  std::string type_name;                          // TEXT (quoted in TOML), INTEGER, NUMBER or 0|1
  std::function<void(const std::string&)> parse;  // throws UserError with a one-line reason
  std::function<std::string()> print;             // current value as text
  bool given = false;                             // set by preset, file or command line
};

// The visitor that config structs see: v(field, name, help), v(field, name, help, {choices}), v.group("Title").
// A nested struct is visited by calling its visit(v). Aliases follow the name: v(dtype, "precision,dtype", ...).
class OptionList {
 public:
  void group(const std::string& title) { group_ = title; }
  template <class T>  // int, int64_t, double, bool, std::string, std::optional of those
  void operator()(T& field, const std::string& name, const std::string& help,
                  const std::vector<std::string>& choices = {});  // empty = any
  // An option of the reference that changes nothing here: accepted with a note.
  void accepted(const std::string& name, const std::string& why) { accepted_names[name] = why; }
  // An option whose feature is not there yet: refused with this reason.
  void refused(const std::string& name, const std::string& why) { refused_names[name] = why; }

  std::vector<Option> options;
  std::map<std::string, std::string> accepted_names, refused_names;

 private:
  std::string group_ = "Options";
};

struct ParseResult {
  std::optional<int> exit_code;  // --help or --version: print `text`, stop with this code
  std::string text;
  std::vector<std::string> notes;  // accepted-and-ignored options, for the banner
};

// Presets: name -> option values by name (as on the command line).
using Presets = std::map<std::string, std::map<std::string, std::string>>;

// Parses args into the fields behind `list`. about: the first line of --help. Throws UserError.
ParseResult parse_flags(OptionList& list, const std::vector<std::string>& args,
                        const std::string& app, const std::string& about,
                        const Presets& presets = {});

// Sets one option by name or alias; origin ("preset tiny: ", "config.toml:3: ", "") opens the error line.
void assign_option(OptionList& list, const std::string& name, const std::string& text,
                   const std::string& origin);

// All options as valid TOML (tables by group are not used: flat keys), readable with --config.
std::string to_toml(const OptionList& list);
// Sets fields from text made by to_toml (a checkpoint's /config). Unknown keys are errors.
void from_toml(OptionList& list, const std::string& text, const std::string& origin);

template <class Config>
OptionList option_list(Config& config) {
  OptionList list;
  config.visit(list);
  return list;
}

}  // namespace switchyard

#include "apps/common/flags_inl.h"
