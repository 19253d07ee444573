// Command lines: words to options by precedence, and --help, which CLI11 lays out. The words are split here:
// CLI11 2.1.2 reads a bare `--flag` as 0, refuses repeats, and takes the word after `--name=` for its value.
#include "apps/common/flags.h"

#include <CLI/CLI.hpp>

#include "apps/common/version.h"
#include "data/utf8.h"
#include "nn/checkpoint_files.h"

namespace switchyard {
namespace {

Option* find_option(OptionList& list, const std::string& name) {
  for (Option& option : list.options)
    if (std::count(option.names.begin(), option.names.end(), name) > 0) return &option;
  return nullptr;
}

// "unknown option '--lrr'; did you mean '--lr'?"
[[noreturn]] void refuse_unknown(const OptionList& list, const std::string& name,
                                 std::vector<std::string> known, const std::string& dashes) {
  for (const Option& option : list.options)
    known.insert(known.end(), option.names.begin(), option.names.end());
  const std::string bare = name.substr(std::min(name.find_first_not_of('-'), name.size()));
  throw UserError(concat("unknown option '", name, "'; did you mean '", dashes,
                         nearest_name(bare, known), "'?"));
}

std::string help_text(const OptionList& general, const OptionList& list, const std::string& app,
                      const std::string& about) {
  CLI::App cli(about, app);
  cli.get_formatter()->column_width(38);
  cli.set_help_flag("-h,--help", "print this text")->group("General");
  cli.set_version_flag("--version", "", "print version and build")->group("General");
  for (const OptionList* part : {&general, &list})
    for (const Option& option : part->options)
      cli.add_option("--" + flags::join(option.names, ",--"), CLI::callback_t(), option.help)
          ->group(option.group)
          ->option_text(option.type_name);
  std::string footer = "Known but without effect:\n";
  for (const auto& [name, why] : list.accepted_names)
    footer += concat("  --", name, ": ", why, "\n");
  for (const auto& [name, why] : list.refused_names)
    footer += concat("  --", name, " is refused: ", why, "\n");
  if (!list.accepted_names.empty() || !list.refused_names.empty()) cli.footer(footer);
  return cli.help();
}

}  // namespace

void assign_option(OptionList& list, const std::string& name, const std::string& text,
                   const std::string& origin) try {
  if (const auto why = list.refused_names.find(name); why != list.refused_names.end())
    throw UserError(concat("--", name, " is refused: ", why->second));
  if (list.accepted_names.count(name) > 0) return;
  Option* option = find_option(list, name);
  if (!option) refuse_unknown(list, name, {}, "");
  option->parse(text);
  option->given = true;
} catch (const UserError& error) {
  throw UserError(origin + error.what());
}

ParseResult parse_flags(OptionList& list, const std::vector<std::string>& args,
                        const std::string& app, const std::string& about, const Presets& presets) {
  std::string config, preset;
  std::vector<std::string> preset_names;
  for (const auto& [name, values] : presets) preset_names.push_back(name);
  OptionList general;
  general.group("General");
  general(config, "config", "options from a config.toml");
  if (!presets.empty()) general(preset, "preset", "options to start from", preset_names);

  ParseResult result;
  std::map<std::string, std::string> values;  // of the options given; the last word counts
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string word = args[i].substr(0, args[i].find('='));
    const std::string name = word.substr(std::min<size_t>(2, word.size()));
    if (word == "-h" || word == "--help") return {0, help_text(general, list, app, about), {}};
    if (word == "--version") return {0, version_text(app), {}};
    user_check(
        word.size() > 1 && word[0] == '-',
        concat("unexpected argument '", word, "': options are written --name value; see --help"));
    const Option* common = find_option(general, name);
    const Option* option = common ? common : find_option(list, name);
    const bool noted = list.accepted_names.count(name) + list.refused_names.count(name) > 0;
    if (!word.starts_with("--") || (!option && !noted))
      refuse_unknown(list, word, {"help", "version", "config", "preset"}, "--");
    std::string value;
    if (word.size() < args[i].size()) {
      value = args[i].substr(word.size() + 1);
    } else if (i + 1 < args.size() && !args[i + 1].starts_with("--")) {
      value = args[++i];
    } else if (option && option->type_name != "0|1") {
      user_check(i + 1 < args.size(), word + " needs a value; see --help");
      throw UserError(concat(word, " needs a value, but '",
                             args[i + 1].substr(0, args[i + 1].find('=')), "' follows"));
    }
    if (common) common->parse(value);
    else values[option ? option->name : name] = value;
  }

  if (!preset.empty())
    for (const auto& [name, value] : presets.at(preset))
      assign_option(list, name, value, "preset " + preset + ": ");
  if (!config.empty()) from_toml(list, read_text(config), "--config " + config);
  for (const auto& [name, value] : values) {
    assign_option(list, name, value, "");
    if (const auto note = list.accepted_names.find(name); note != list.accepted_names.end())
      result.notes.push_back(concat("--", name, " changes nothing here: ", note->second));
  }
  return result;
}

}  // namespace switchyard
