// Command lines and flat TOML. CLI11 splits the arguments and lays out --help; precedence, booleans without
// a value, repeated options and error texts are ours (CLI11 2.1.2 reads a bare `--flag` as 0, refuses repeats).
#include "apps/common/flags.h"

#include <algorithm>
#include <CLI/CLI.hpp>
#include <numeric>

#include "apps/common/version.h"
#include "nn/checkpoint_files.h"
#include "tensor/check.h"

namespace switchyard {
namespace {

using Names = std::vector<std::string>;

// Levenshtein distance: the fewest inserted, deleted or replaced letters.
size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

std::string nearest(const Names& known, const std::string& name) {
  return *std::min_element(known.begin(), known.end(), [&](const auto& a, const auto& b) {
    return edit_distance(a, name) < edit_distance(b, name);
  });
}

std::string describe(const Option& option) {
  std::string text = option.help;
  if (!option.choices.empty()) text += " {" + flags::join(option.choices, ",") + "}";
  const bool empty = option.default_text.empty();
  return text + " [" + (empty ? "\"\"" : option.default_text) + "]";
}

// CLI11 takes the word after `--name=` for its value: give it an explicit empty word instead.
std::vector<std::string> explicit_values(const std::vector<std::string>& args) {
  std::vector<std::string> out;
  for (const std::string& arg : args) {
    const size_t equals = arg.find('=');
    const bool pair = arg.rfind("--", 0) == 0 && equals != std::string::npos;
    out.push_back(pair ? arg.substr(0, equals) : arg);
    if (pair) out.push_back(arg.substr(equals + 1));
  }
  return out;
}

}  // namespace

void assign_option(OptionList& list, const std::string& name, const std::string& text,
                   const std::string& origin) {
  Names known;
  for (Option& option : list.options) {
    known.insert(known.end(), option.names.begin(), option.names.end());
    if (std::count(option.names.begin(), option.names.end(), name) == 0) continue;
    try {
      option.parse(text);
    } catch (const UserError& error) {
      throw UserError(origin + error.what());
    }
    option.given = true;
    return;
  }
  const auto why = list.refused_names.find(name);
  if (why != list.refused_names.end())
    throw UserError(concat(origin, "--", name, " is refused: ", why->second));
  user_check(
      list.accepted_names.count(name) > 0,
      concat(origin, "unknown option '", name, "'; did you mean '", nearest(known, name), "'?"));
}

ParseResult parse_flags(OptionList& list, const std::vector<std::string>& args,
                        const std::string& app, const std::string& about, const Presets& presets) {
  CLI::App cli(about, app);
  cli.allow_extras();
  cli.get_formatter()->column_width(38);
  cli.set_help_flag("-h,--help", "print this text")->group("General");
  cli.set_version_flag("--version", version_text(app), "print version and build")->group("General");
  Names preset_names;
  for (const auto& [name, values] : presets) preset_names.push_back(name);

  // The words given for each option; its last one counts. Words are parsed below, by precedence.
  const auto add = [&](const std::string& names, const std::string& type, const std::string& text,
                       const std::string& group, bool bare) {
    CLI::Option* option = cli.add_option(
        names, [](const CLI::results_t&) { return true; }, text);
    option->take_last()->group(group)->option_text(type)->expected(bare ? 0 : 1, 1);
    return option;
  };
  const CLI::Option* config =
      add("--config", "FILE", "options from a config.toml", "General", false);
  const CLI::Option* preset = nullptr;
  if (!presets.empty())
    preset = add("--preset", "NAME", "{" + flags::join(preset_names, ",") + "}", "General", false);
  std::map<std::string, CLI::Option*> words;
  for (const Option& option : list.options)
    words[option.name] = add("--" + flags::join(option.names, ",--"), option.type_name,
                             describe(option), option.group, option.is_bool);
  std::string footer;
  for (const auto* names : {&list.accepted_names, &list.refused_names})
    for (const auto& [name, why] : *names) {
      words[name] = add("--" + name, "", why, "", true);  // group "": not in the list of options
      footer +=
          concat("  --", name, names == &list.refused_names ? " is refused: " : ": ", why, "\n");
    }
  if (!footer.empty()) cli.footer("Known but without effect:\n" + footer);

  std::vector<std::string> tokens = explicit_values(args);
  std::reverse(tokens.begin(), tokens.end());  // CLI11 takes a stack
  try {
    cli.parse(tokens);
  } catch (const CLI::Success& done) {
    return {cli.exit(done), {}};            // prints help or version
  } catch (const CLI::ArgumentMismatch&) {  // only the last word can lack its value
    throw UserError(args.back() + " needs a value; see --help");
  }
  Names known;
  for (const CLI::Option* option : cli.get_options()) {
    known.insert(known.end(), option->get_lnames().begin(), option->get_lnames().end());
    for (const std::string& word : option->results())
      user_check(word.rfind("--", 0) != 0,
                 concat(option->get_name(), " needs a value, but '", word, "' follows"));
  }
  for (const std::string& extra : cli.remaining()) {
    user_check(
        extra.size() > 1 && extra[0] == '-',
        concat("unexpected argument '", extra, "': options are written --name value; see --help"));
    const std::string name = extra.substr(std::min(extra.find_first_not_of('-'), extra.size()));
    throw UserError(
        concat("unknown option '", extra, "'; did you mean '--", nearest(known, name), "'?"));
  }

  const auto last_word = [](const CLI::Option* option) { return option->results().back(); };
  if (preset && preset->count() > 0) {
    const std::string name = last_word(preset);
    const auto values = presets.find(name);
    user_check(values != presets.end(),
               concat("--preset: '", name, "' is not one of ", flags::join(preset_names, ", ")));
    for (const auto& [key, value] : values->second)
      assign_option(list, key, value, "preset " + name + ": ");
  }
  if (config->count() > 0) {
    const std::string path = last_word(config);
    from_toml(list, read_text(path), "--config " + path);
  }
  ParseResult result;
  for (const auto& [name, option] : words) {
    if (option->count() == 0) continue;
    assign_option(list, name, last_word(option), "");
    const auto note = list.accepted_names.find(name);
    if (note != list.accepted_names.end())
      result.notes.push_back(concat("--", name, " changes nothing here: ", note->second));
  }
  return result;
}

}  // namespace switchyard
