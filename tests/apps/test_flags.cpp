// Options: values, precedence, errors, and TOML that reads back exactly.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <limits>

#include "apps/common/flags.h"
#include "tensor/check.h"

namespace switchyard {
namespace {

struct Inner {
  int depth = 3;
  template <class V>
  void visit(V&& v) {
    v.group("Inner");
    v(depth, "depth", "layers");
  }
};

struct Config {
  int strata = 1;
  int64_t steps = 100;
  double lr = 8e-4;
  bool norm = true, fast = false;
  std::string data = "", betas = "(0.9, 0.98)", policy = "all", dtype = "fp32";
  std::optional<int> limit;
  std::optional<double> rate = 0.5;
  std::string name;
  Inner inner;
  template <class V>
  void visit(V&& v) {
    v.group("Model");
    v(strata, "hmoe-layer", "number of strata");
    v(norm, "hmoe-layernorm", "stratum norms");
    v(policy, "policy", "second experts", {"all", "random", "sampling"});
    v(dtype, "precision,dtype", "number format", {"fp32", "bf16"});
    v.group("Training");
    v(steps, "max-update", "updates");
    v(lr, "lr", "learning rate");
    v(fast, "fast", "hurry");
    v(data, "data", "folder");
    v(betas, "adam-betas", "two numbers");
    v(limit, "limit", "at most");
    v(rate, "rate", "some rate");
    v(name, "run-name", "a name");
    inner.visit(v);
    if constexpr (requires { v.accepted("", ""); }) {
      v.accepted("ddp-backend", "one scheme only");
      v.refused("fp16", "use --precision bf16");
    }
  }
};

const Presets kPresets = {{"tiny", "--hmoe-layer 2 --lr 0.1 --max-update 7"}};

ParseResult parse(Config& config, const std::vector<std::string>& args) {
  return parse_flags(option_list(config), args, "app", "About it.", kPresets);
}

std::string error_of(const std::vector<std::string>& args) {
  Config config;
  try {
    parse(config, args);
  } catch (const UserError& error) {
    return error.what();
  }
  return "no error";
}

class TempFile {
 public:
  explicit TempFile(const std::string& text)
      : path(testing::TempDir() + "flags_" + std::to_string(getpid()) + ".toml") {
    std::ofstream(path) << text;
  }
  ~TempFile() { std::filesystem::remove(path); }
  const std::string path;
};

TEST(Flags, ValuesOfEachType) {
  Config c;
  parse(c,
        {"--hmoe-layer", "4", "--max-update=9000000000", "--lr", "-1", "--data", "a b", "--limit",
         "-3", "--rate", "1e-6", "--run-name=x=y", "--adam-betas", "(0.9, 0.999)", "--depth=0"});
  EXPECT_EQ(c.strata, 4);
  EXPECT_EQ(c.steps, 9000000000);
  EXPECT_EQ(c.lr, -1.0);
  EXPECT_EQ(c.data, "a b");
  EXPECT_EQ(c.limit, -3);
  EXPECT_EQ(c.rate, 1e-6);
  EXPECT_EQ(c.name, "x=y");
  EXPECT_EQ(c.betas, "(0.9, 0.999)");
  EXPECT_EQ(c.inner.depth, 0);
}

TEST(Flags, OptionalsCanBeEmptiedAndTextsCanBeEmpty) {
  Config c;
  parse(c,
        {"--rate", "none", "--data=", "--adam-betas=", "--max-update", "3", "--run-name", "[a,b]"});
  EXPECT_FALSE(c.rate.has_value());
  EXPECT_EQ(c.betas, "");
  EXPECT_EQ(c.steps, 3);
  EXPECT_EQ(c.name, "[a,b]");
}

TEST(Flags, Booleans) {
  const std::vector<std::pair<std::vector<std::string>, bool>> cases = {
      {{"--fast"}, true},
      {{"--fast", "1"}, true},
      {{"--fast=true"}, true},
      {{"--fast", "0"}, false},
      {{"--fast=false"}, false},
      {{"--fast", "false"}, false},
      {{"--fast", "--lr", "1"}, true},
      {{"--fast", "0", "--fast"}, true},
      {{"--fast", "--fast=0"}, false}};
  for (const auto& [args, expected] : cases) {
    Config c;
    c.fast = !expected;
    parse(c, args);
    EXPECT_EQ(c.fast, expected) << args.back();
  }
  EXPECT_EQ(error_of({"--fast", "yes"}), "--fast: 'yes' is not one of 0, 1, true, false");
}

TEST(Flags, LaterBeatsEarlierAndPresetFileCommandLineInThisOrder) {
  Config c;
  parse(c, {"--lr", "1", "--lr=2"});
  EXPECT_EQ(c.lr, 2);
  const TempFile file("lr = 0.2\nmax-update = 8\n");
  Config d;
  parse(d, {"--max-update", "9", "--config", file.path, "--preset", "tiny"});
  EXPECT_EQ(d.strata, 2);  // preset
  EXPECT_EQ(d.lr, 0.2);    // file
  EXPECT_EQ(d.steps, 9);   // command line
  EXPECT_EQ(d.policy, "all");
}

TEST(Flags, NumbersMustBeComplete) {
  for (const std::string bad :
       {"12abc", "", " 1", "1 ", "x", "1e5", "99999999999", "0x10", "1.0", "+"})
    EXPECT_EQ(error_of({"--hmoe-layer=" + bad}),
              "--hmoe-layer: '" + bad + "' is not an integer from -2147483648 to 2147483647");
  for (const std::string bad : {"12abc", "", "1e400", "nan", "inf", "0.1.2", "1e", "-"})
    EXPECT_EQ(error_of({"--lr=" + bad}),
              "--lr: '" + bad + "' is not a finite number such as 0.1 or 1e-6");
  EXPECT_NE(error_of({"--max-update=9223372036854775808"}), "no error");
  EXPECT_EQ(error_of({"--max-update=9223372036854775807"}), "no error");
}

TEST(Flags, UserMistakes) {
  EXPECT_EQ(error_of({"--hmoe-layers", "2"}),
            "unknown option '--hmoe-layers'; did you mean '--hmoe-layer'?");
  EXPECT_EQ(error_of({"--presett", "tiny"}),
            "unknown option '--presett'; did you mean '--preset'?");
  EXPECT_EQ(error_of({"--max_update=3"}),
            "unknown option '--max_update'; did you mean '--max-update'?");
  EXPECT_EQ(error_of({"-lr", "2"}), "unknown option '-lr'; did you mean '--lr'?");
  EXPECT_EQ(error_of({"stray"}),
            "unexpected argument 'stray': options are written --name value; see --help");
  EXPECT_EQ(error_of({"--lr", "1", "2"}),
            "unexpected argument '2': options are written --name value; see --help");
  EXPECT_EQ(error_of({"--lr"}), "--lr needs a value: --lr VALUE or --lr=VALUE");
  for (const std::string next : {"--lr", "--lr=1", "--fast"})
    EXPECT_EQ(error_of({"--data", next}), "--data needs a value: --data VALUE or --data=VALUE");
  EXPECT_EQ(error_of({"--policy", "al"}), "--policy: 'al' is not one of all, random, sampling");
  EXPECT_EQ(error_of({"--preset", "huge"}), "--preset: 'huge' is not one of tiny");
  EXPECT_EQ(error_of({"--config", "/no/such"}),
            "/no/such: cannot be opened: No such file or directory");
  EXPECT_EQ(error_of({"--fp16"}), "--fp16 is refused: use --precision bf16");
  EXPECT_EQ(error_of({"--fp16", "1"}), "--fp16 is refused: use --precision bf16");
}

TEST(Flags, AcceptedNamesLeaveANote) {
  Config c;
  const ParseResult result = parse(c, {"--ddp-backend", "fully_sharded", "--dtype", "bf16"});
  EXPECT_EQ(result.notes,
            std::vector<std::string>{"--ddp-backend changes nothing here: one scheme only"});
  EXPECT_EQ(c.dtype, "bf16");
  EXPECT_FALSE(result.exit_code.has_value());
}

TEST(Flags, HelpIsGroupedAndComplete) {
  Config c;
  const ParseResult result = parse(c, {"--lr", "3", "--help"});
  const std::string& text = result.text;
  EXPECT_EQ(result.exit_code, 0);
  for (const char* part :
       {"About it.", "Model:", "Training:", "Inner:", "--hmoe-layer INTEGER",
        "number of strata [1]", "{all,random,sampling} [all]", "--precision,--dtype",
        "learning rate [0.0008]", "--preset TEXT", "is refused: use --precision",
        "changes nothing here: one scheme", "--depth INTEGER", "at most [none]"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  const ParseResult version = parse(c, {"--version"});
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_NE(version.text.find("commit"), std::string::npos);
}

TEST(Flags, TomlReadsBackExactly) {
  Config c;
  c.lr = 0.1 + 0.2;
  c.rate = std::numeric_limits<double>::denorm_min();
  c.steps = std::numeric_limits<int64_t>::min();
  c.data = "q\"uo\\te # = \t\n\x01\x7f é 👍 'x'";
  c.name = "";
  c.fast = true;
  const OptionList from = option_list(c);
  const std::string text = to_toml(from);
  Config d;
  const OptionList to = option_list(d);
  from_toml(to, text, "config.toml");
  EXPECT_EQ(to_toml(to), text);
  EXPECT_EQ(d.lr, c.lr);
  EXPECT_EQ(d.rate, c.rate);
  EXPECT_EQ(d.steps, c.steps);
  EXPECT_EQ(d.data, c.data);
  EXPECT_EQ(d.name, "");
  EXPECT_FALSE(d.limit.has_value());
  for (const double value : {1.0, -0.0, 1e22, 1e-7, 5e-324, 1.7976931348623157e308, 123456.789}) {
    c.lr = value;
    from_toml(to, to_toml(from), "config.toml");
    EXPECT_EQ(d.lr, value);
  }
}

TEST(Flags, TomlAsPeopleWriteIt) {
  Config c;
  const OptionList list = option_list(c);
  from_toml(
      list,
      "# comment\r\n\n  lr = 1 # fast\ndata='C:\\dir'\nmax-update = 1000\nfast = true\n"
      "hmoe-layer=2\nadam-betas = \"a # b\" # c\nrun-name = \"\\u00e9👍\\t\"\ndtype = \"bf16\"\n",
      "f");
  EXPECT_EQ(c.lr, 1);
  EXPECT_EQ(c.data, "C:\\dir");
  EXPECT_EQ(c.betas, "a # b");
  EXPECT_EQ(c.steps, 1000);
  EXPECT_TRUE(c.fast);
  EXPECT_EQ(c.strata, 2);
  EXPECT_EQ(c.name, "é👍\t");
  EXPECT_EQ(c.dtype, "bf16");
}

TEST(Flags, TomlMistakesNameFileAndLine) {
  const std::string refused = "f:1: expected a number, true, false or a text in quotes, found ";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"lr 1", "f:1: expected `name = value` (no tables)"},
      {"\n[model]\n", "f:2: expected `name = value` (no tables)"},
      {"lr = ", refused + "''"},
      {"data = abc", refused + "'abc'"},
      {"data = \"abc", refused + "'\"abc'"},
      {"data = 'abc", refused + "''abc'"},
      {"data = \"a\\", refused + "'\"a\\'"},
      {"data = \"\\q\"", refused + "'\"\\q\"'"},
      {"data = \"\\u12\"", refused + "'\"\\u12\"'"},
      {"lr = 1 2", refused + "'1 2'"},
      {"lr = [1]", refused + "'[1]'"},
      {"lr = 1x", refused + "'1x'"},
      {"lr = 1\nlr = 2", "f:2: 'lr' is given twice"},
      {"lrr = 1", "f:1: unknown option 'lrr'; did you mean 'lr'?"},
      {"lr = true", "f:1: --lr: 'true' is not a finite number such as 0.1 or 1e-6"}};
  for (const auto& [text, expected] : cases) {
    Config c;
    const OptionList list = option_list(c);
    try {
      from_toml(list, text, "f");
      ADD_FAILURE() << text;
    } catch (const UserError& error) {
      EXPECT_EQ(error.what(), expected);
    }
  }
}

}  // namespace
}  // namespace switchyard
