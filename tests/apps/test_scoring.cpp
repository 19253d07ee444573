// Scoring around the metrics: SentencePiece BLEU, groups of directions, arguments of a command line.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "apps/common/direction_groups.h"
#include "apps/common/flags.h"
#include "apps/common/scoring.h"

namespace switchyard {
namespace {

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST(Scoring, SentencePieceBleuIsBleuOfItsPieces) {
  Lines text;
  for (int i = 0; i < 60; ++i)
    text.push_back(concat("the cat ", i, " sat on mat ", i * 7 % 13, "."));
  Counts skipped;
  const std::string model = train_sentencepiece(text, {.vocabulary_size = 34}, skipped);
  const auto file = std::filesystem::temp_directory_path() / concat("spm.", getpid(), ".model");
  std::ofstream(file, std::ios::binary) << model;
  ScoringOptions options;
  options.tokenize = "spm-mine";
  options.spm_model = file;
  options.prepare();
  std::filesystem::remove(file);

  const Tokenizer tokenizer(model, make_vocabulary(model, {}));
  const auto pieces = [&](const std::string& line) {
    Lines words;
    for (int32_t id : tokenizer.encode(line)) words.push_back(tokenizer.vocabulary()[size_t(id)]);
    return join(words, " ");
  };
  const std::string hyp = "the cat 12 sat on mat 3. ", ref = "the cat 21 sat on mat 3.";
  EXPECT_EQ(bleu_tokenize(hyp, options.bleu()), pieces(hyp));
  const MetricScore score = score_lines("bleu", {hyp}, {{ref}}, options);
  EXPECT_DOUBLE_EQ(score.value,
                   corpus_bleu({pieces(hyp)}, {{pieces(ref)}}, {.tokenizer = "none"}).score);
  EXPECT_GT(score.value, 20);
  EXPECT_LT(score.value, 95);
  EXPECT_EQ(score.signature,
            "nrefs:1|case:mixed|eff:no|tok:spm-mine|smooth:exp|version:switchyard-0.1");
  for (const char* name : {"spm-flores200", "spm-Flores", "spm-", "spm-a|b", "spm", "flores101"}) {
    BleuOptions bleu = options.bleu();
    bleu.tokenizer = name;
    EXPECT_NE(error_of([&] { validate(bleu); }), "") << name;
  }
}

// English with aa, bb, cc, dd; `sizes` training pairs of each
TranslationSource english_with(const std::vector<int64_t>& sizes) {
  const std::vector<std::string> langs = {"aa", "bb", "cc", "dd", "en"};
  std::vector<Bitext> bitexts;
  for (size_t i = 0; i < sizes.size(); ++i) {
    Bitext& bitext = bitexts.emplace_back(Bitext{{langs[i], "en"}, {}});
    for (Sentences& side : bitext.splits[size_t(Split::Train)])
      for (int64_t n = 0; n < sizes[i]; ++n) side.add({});
  }
  return {"a test", langs, Tokenizer("", make_vocabulary(std::vector<std::string>{"w"}, langs)),
          bitexts};
}

std::string described(const TranslationSource& source, const std::vector<DirectionGroup>& groups) {
  std::string text;
  for (const DirectionGroup& group : groups) {
    text += group.name + ":";
    for (int32_t d : group.directions) text += " " + source.directions()[size_t(d)].name();
    text += "; ";
  }
  return text;
}

TEST(DirectionGroups, ByTrainingSentencesOrAsGiven) {
  const std::vector<int32_t> all = {0, 1, 2, 3, 4, 5, 6, 7};
  const auto resources = [&](const TranslationSource& source, const std::string& rule) {
    return described(source, resource_groups(source, all, rule));
  };
  const std::string halves = "high: aa-en en-aa cc-en en-cc; low: bb-en en-bb dd-en en-dd; ";
  const TranslationSource small = english_with({9, 4, 7, 5});
  EXPECT_EQ(resources(small, "auto"), halves);
  EXPECT_EQ(resources(small, "halves"), halves);
  EXPECT_EQ(resources(small, "levels"), "");  // all very low: no contrast
  EXPECT_EQ(resources(small, "none"), "");
  EXPECT_EQ(resources(english_with({5, 5, 5, 5}), "auto"), "");
  const std::string levels =
      "high: aa-en en-aa; low: bb-en en-bb; very low: cc-en en-cc dd-en en-dd; ";
  const TranslationSource large = english_with({1000000, 100001, 100000, 5});
  EXPECT_EQ(resources(large, "auto"), levels);
  EXPECT_EQ(resources(large, "levels"), levels);
  EXPECT_EQ(resources(small, "near=bb,en-cc;far=dd"),
            "near: bb-en en-bb en-cc; far: dd-en en-dd; ");
  for (const char* wrong : {"high", "high=", "=aa", "high=ee", "a=aa;b", ""})
    EXPECT_NE(error_of([&] { resource_groups(small, all, wrong); }), "") << wrong;
}

TEST(DirectionGroups, FromAndIntoTheSharedLanguage) {
  const TranslationSource source = english_with({9, 4, 7, 5});
  const auto sides = [&](const std::vector<int32_t>& directions) {
    const auto resources = resource_groups(source, directions, "halves");
    return described(source, groups_by_side(source, directions, resources));
  };
  EXPECT_EQ(sides({0, 1, 2, 3}),
            "en-x: en-aa en-bb; en-x high: en-aa; en-x low: en-bb; "
            "x-en: aa-en bb-en; x-en high: aa-en; x-en low: bb-en; ");
  EXPECT_EQ(sides({0, 1}), "");        // one pair: no side is shared more than the other
  EXPECT_EQ(sides({1, 3, 5, 7}), "");  // one side only: nothing new to average
  EXPECT_EQ(sides({0, 2, 4, 6}), "");
}

struct Arguments {
  std::vector<std::string> files, refs;
  bool fast = false;
  template <class V>
  void visit(V&& v) {
    v.arguments(files, "FILES", "files to read");
    v(refs, "ref", "may be repeated");
    v(fast, "fast", "hurry");
  }
};

TEST(Flags, ArgumentsAndLists) {
  using Words = std::vector<std::string>;
  Arguments c;
  parse_flags(option_list(c), {"a=b", "--ref", "r1", "--fast", "c", "--ref=r2,r3", "0"}, "app", "");
  EXPECT_EQ(c.files, (Words{"a=b", "c", "0"}));
  EXPECT_EQ(c.refs, (Words{"r1", "r2,r3"}));
  EXPECT_TRUE(c.fast);
  parse_flags(option_list(c), {"--fast", "0", "d"}, "app", "");
  EXPECT_FALSE(c.fast);
  EXPECT_EQ(c.files.back(), "d");
}

}  // namespace
}  // namespace switchyard
