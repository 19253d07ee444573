// Command lines: words to options by precedence, options as flat TOML, and --help, which CLI11 lays out. The
// words are split here: CLI11 2.1.2 reads a bare `--flag` as 0, refuses repeats, and takes the word after
// `--name=` for its value.
#include "apps/common/flags.h"

#include <CLI/CLI.hpp>
#include <iostream>
#include <set>

#include "dist/runtime.h"
#include "nn/checkpoint_files.h"
#include "tensor/device.h"

namespace switchyard {

namespace {

// The option called `word` = dashes + name, or "unknown option '--lrr'; did you mean '--lr'?"
const Option& find_option(const OptionList& list, const std::string& word,
                          const std::string& dashes) {
  std::vector<std::string> known;
  for (const Option& option : list.options)
    for (const std::string& name : option.names) {
      if (word == dashes + name) return option;
      known.push_back(name);
    }
  const std::string bare = word.substr(std::min(word.find_first_not_of('-'), word.size()));
  throw UserError(concat("unknown option '", word, "'; did you mean '", dashes,
                         nearest_name(bare, known), "'?"));
}

std::string help_text(const OptionList& list, const std::string& app, const std::string& about) {
  CLI::App cli(about, app);
  cli.set_help_flag();  // it is one of ours
  cli.get_formatter()->column_width(38);
  if (list.rest)
    cli.add_option(list.rest->names[0], CLI::callback_t(), list.rest->help)->option_text("...");
  for (const bool with_value : {true, false})
    for (const Option& option : list.options)
      if (bool(option.print) == with_value)
        cli.add_option("--" + join(option.names, ",--"), CLI::callback_t(), option.help)
            ->group(option.group)
            ->option_text(option.type);
  return cli.help();
}

// Everything a bug report should say about the build and the machine. Version and commit are CMake's.
std::string version_text(const std::string& app) {
  // the matrix kernels choose by the same two questions (tensor/cpu/matmul.cpp)
  const char* chosen = std::getenv("SWITCHYARD_ISA");
  const char* isa = chosen ? chosen : __builtin_cpu_supports("x86-64-v4") ? "avx512" : "avx2";
  return concat(app,
                " (Switchyard " SWITCHYARD_VERSION ")\ncommit           " SWITCHYARD_COMMIT
                "\ncompiler         GCC " __VERSION__ "\ninstruction set  ",
                isa, "\nMPI              ", dist::mpi_version(), "\nCUDA             ",
                cuda::version(), "\n");
}

// Is the word after an option its value? A flag's only when it is one, where it may be an argument.
bool takes_value(const Option& option, const std::string& next, bool arguments) {
  const bool flag = option.type == "0|1" && arguments;
  return !next.starts_with("--") && (!flag || contains({"0", "1", "true", "false"}, next));
}

using Words = std::vector<std::pair<const Option*, std::string>>;  // options with their values

// Splits `--name value`, `--name=value` and, where no value is needed, `--name`.
Words read_words(const OptionList& list, const std::vector<std::string>& args) {
  Words words;
  for (size_t i = 0; i < args.size(); ++i) {
    std::string word = args[i].substr(0, args[i].find('='));
    if (list.rest && !args[i].starts_with("-")) {
      list.rest->parse(args[i]);
      continue;
    }
    user_check(
        word.size() > 1 && word[0] == '-',
        concat("unexpected argument '", word, "': options are written --name value; see --help"));
    const Option& option = find_option(list, word == "-h" ? "--help" : word, "--");
    std::string value;
    if (word.size() < args[i].size()) {
      value = args[i].substr(word.size() + 1);
    } else if (i + 1 < args.size() && takes_value(option, args[i + 1], bool(list.rest))) {
      value = args[++i];
    } else if (option.print && option.type != "0|1") {
      throw UserError(concat(word, " needs a value: ", word, " VALUE or ", word, "=VALUE"));
    }
    words.emplace_back(&option, value);
  }
  return words;
}

// Without blanks at its ends.
std::string trimmed(const std::string& text) {
  const size_t first = std::min(text.find_first_not_of(" \t\r"), text.size());
  return text.substr(first, text.find_last_not_of(" \t\r") + 1 - first);
}

// A line of TOML without its comment, which begins at a # outside quotes.
std::string without_comment(const std::string& line) {
  char quote = 0;
  for (size_t i = 0; i < line.size(); ++i) {
    if (quote == '"' && line[i] == '\\') ++i;
    else if (quote != 0) quote = line[i] == quote ? 0 : quote;
    else if (line[i] == '#') return line.substr(0, i);
    else if (line[i] == '"' || line[i] == '\'') quote = line[i];
  }
  return line;
}

// A TOML value as the command line gives it. Except for 'literal text', those of options are JSON's.
std::string plain_value(const std::string& value) {
  const size_t last = value.size() - 1;
  if (value.size() > 1 && value[0] == '\'' && value.find('\'', 1) == last)
    return value.substr(1, last - 1);
  const auto parsed = nlohmann::json::parse(value, nullptr, false);
  user_check(parsed.is_string() || parsed.is_number() || parsed.is_boolean(),
             concat("expected a number, true, false or a text in quotes, found '", value, "'"));
  return parsed.is_string() ? parsed.get<std::string>() : value;
}

}  // namespace

int tool_main(const std::string& app, int argc, char** argv,
              int (*run)(const std::vector<std::string>& args)) {
  try {
    return run({argv + 1, argv + argc});
  } catch (const UserError& e) {
    std::cerr << app << ": " << e.what() << std::endl;
    return 2;
  } catch (const std::exception& e) {
    std::cerr << app << ": internal error: " << e.what() << std::endl;
    return 1;
  }
}

ParseResult parse_flags(const OptionList& list, const std::vector<std::string>& args,
                        const std::string& app, const std::string& about, const Presets& presets) {
  bool help = false, version = false;
  std::string config, preset;
  std::vector<std::string> preset_names;
  for (const auto& [name, words] : presets) preset_names.push_back(name);
  OptionList all;
  all.group("General");
  all(help, "help", "print this text; also -h");
  all(version, "version", "print version and build");
  all(config, "config", "options from a config.toml");
  if (!presets.empty()) all(preset, "preset", "options to start from", preset_names);
  all.rest = list.rest;
  all.options.insert(all.options.end(), list.options.begin(), list.options.end());

  const Words words = read_words(all, args);
  for (const auto& [option, value] : words)
    if (option->group == "General") option->parse(value);
  if (help) return {0, help_text(all, app, about), {}};
  if (version) return {0, version_text(app), {}};

  if (!preset.empty()) {
    const auto parts = split_words(presets.at(preset));
    for (const auto& [option, value] : read_words(all, {parts.begin(), parts.end()}))
      option->parse(value);
  }
  if (!config.empty()) from_toml(list, read_text(config), "--config " + config);
  ParseResult result;
  for (const auto& [option, value] : words) {
    option->parse(value);
    if (!option->print) result.notes.push_back(concat("--", option->names[0], " ", option->help));
  }
  return result;
}

std::string to_toml(const OptionList& list) {
  std::string out, group;
  for (const Option& option : list.options) {
    if (!option.print) continue;
    if (option.group != group) out += concat(out.empty() ? "" : "\n", "# ", option.group, "\n");
    group = option.group;
    const std::string value = option.print();
    // JSON's escapes are TOML's; an empty optional number is the text "none": TOML has no null
    const bool text = option.type == "TEXT" || value == "none";
    out += concat(option.names[0], " = ", text ? nlohmann::json(value).dump() : value, "\n");
  }
  return out;
}

void from_toml(const OptionList& list, const std::string& text, const std::string& origin) {
  std::set<std::string> seen;
  std::istringstream lines(text);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    line = trimmed(without_comment(line));
    if (line.empty()) continue;
    try {
      const size_t equals = line.find('=');
      user_check(equals != std::string::npos, "expected `name = value` (no tables)");
      const std::string name = trimmed(line.substr(0, equals));
      user_check(seen.insert(name).second, concat("'", name, "' is given twice"));
      find_option(list, name, "").parse(plain_value(trimmed(line.substr(equals + 1))));
    } catch (const UserError& error) {
      throw UserError(concat(origin, ":", number, ": ", error.what()));
    }
  }
}

}  // namespace switchyard
