// BLEU and chrF against the recorded values of sacreBLEU 2.6.0 (tests/fixtures/bleu_cases.tsv), and by hand.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "apps/common/bleu.h"
#include "apps/common/chrf.h"
#include "apps/common/translation_eval.h"
#include "data/text_files.h"
#include "tensor/check.h"

namespace switchyard {
namespace {

std::string fixtures() {
  const char* other = std::getenv("SWITCHYARD_FIXTURES");
  return other ? other : SWITCHYARD_FIXTURES_DEFAULT;
}

std::vector<std::string> split(const std::string& text, const std::string& at) {
  std::vector<std::string> parts;
  size_t from = 0;
  for (size_t to; (to = text.find(at, from)) != std::string::npos; from = to + at.size())
    parts.push_back(text.substr(from, to - from));
  parts.push_back(text.substr(from));
  return parts;
}

using Row = std::map<std::string, std::string>;

std::vector<Row> read_rows() {
  std::ifstream in(fixtures() + "/bleu_cases.tsv");
  std::string line;
  std::getline(in, line);
  const std::vector<std::string> names = split(line, "\t");
  std::vector<Row> rows;
  while (std::getline(in, line)) {
    const std::vector<std::string> fields = split(line, "\t");
    EXPECT_EQ(fields.size(), names.size()) << line;
    Row row;
    for (size_t i = 0; i < std::min(fields.size(), names.size()); ++i) row[names[i]] = fields[i];
    rows.push_back(row);
  }
  return rows;
}

BleuOptions options_of(Row& row) {
  BleuOptions options;
  options.tokenizer = row["tok"];
  options.lower_case = row["lc"] == "1";
  const std::vector<std::string> smooth = split(row["smooth"], ":");
  options.smooth = smooth[0];
  if (smooth.size() > 1) options.smooth_value = std::stod(smooth[1]);
  return options;
}

void expect_numbers(const std::string& fixture, const std::array<double, 4>& ours, double tolerance,
                    const char* what) {
  const std::vector<std::string> expected = split(fixture, "/");
  ASSERT_EQ(expected.size(), 4u);
  for (size_t n = 0; n < 4; ++n) EXPECT_NEAR(ours[n], std::stod(expected[n]), tolerance) << what;
}

void expect_corpus(Row& row, const std::vector<std::string>& hyps, const std::vector<Lines>& refs) {
  const BleuOptions options = options_of(row);
  const BleuScore score = corpus_bleu(hyps, refs, options);
  EXPECT_NEAR(score.score, std::stod(row["corpus_bleu"]), 1e-6);
  expect_numbers(row["match"], score.match, 0, "match");
  expect_numbers(row["total"], score.total, 0, "total");
  expect_numbers(row["precisions"], score.precisions, 1e-6, "precisions");
  EXPECT_NEAR(score.brevity_penalty, std::stod(row["bp"]), 1e-6);
  EXPECT_EQ(score.hyp_len, std::stoll(row["hyp_len"]));
  EXPECT_EQ(score.ref_len, std::stoll(row["ref_len"]));
  ChrfOptions chrf{.lower_case = options.lower_case};
  EXPECT_NEAR(corpus_chrf(hyps, refs, chrf), std::stod(row["chrf"]), 1e-6);
  chrf.word_order = 2;
  EXPECT_NEAR(corpus_chrf(hyps, refs, chrf), std::stod(row["chrfpp"]), 1e-6);
}

TEST(BleuFixtures, Segments) {
  int count = 0;
  for (Row& row : read_rows()) {
    if (row["kind"] != "seg") continue;
    SCOPED_TRACE(row["id"]);
    BleuOptions options = options_of(row);
    const Lines refs = split(row["refs"], " ||| ");
    EXPECT_EQ(bleu_tokenize(row["hyp"], options), row["tok_hyp"]);
    expect_corpus(row, {row["hyp"]}, {refs});
    options.effective_order = true;
    const BleuScore sentence = corpus_bleu({row["hyp"]}, {refs}, options);
    EXPECT_NEAR(sentence.score, std::stod(row["sent_bleu"]), 1e-6);
    ++count;
  }
  EXPECT_GT(count, 0) << "no rows in " << fixtures();
}

TEST(BleuFixtures, Corpora) {
  std::vector<Row> rows = read_rows();
  std::map<std::string, Row> by_id;
  for (Row& row : rows) by_id[row["id"]] = row;
  for (Row& row : rows) {
    if (row["kind"] != "corpus") continue;
    SCOPED_TRACE(row["id"]);
    std::vector<std::string> hyps;
    std::vector<Lines> refs;
    for (const std::string& id : split(row["hyp"], ",")) {
      hyps.push_back(by_id[id]["hyp"]);
      refs.push_back({split(by_id[id]["refs"], " ||| ")[0]});
    }
    expect_corpus(row, hyps, refs);
  }
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : " ") + word;
  return out;
}
std::string lower(const std::string& text) { return rewrite(text, {}, true); }

// The operations of kind `file` (specs/bleu.md 8).
std::vector<std::string> derive(const std::string& op, size_t k,
                                const std::vector<std::string>& lines) {
  std::vector<std::string> out;
  for (size_t i = 0; i < lines.size(); ++i) {
    const std::string& line = lines[i];
    const std::string spaced = rewrite(line, {{"[" + kSpaces + "]+", " "}});
    std::vector<std::string> w, kept;
    for (const std::string_view word : split_words(spaced)) w.emplace_back(word);
    if (op == "same") {
      out.push_back(line);
    } else if (op == "lower") {
      out.push_back(lower(line));
    } else if (op == "rotlines") {
      out.push_back(lines[(i + k) % lines.size()]);
    } else if (op == "emptyevery") {
      out.push_back((i + 1) % k == 0 ? "" : line);
    } else if (op == "nopunct") {
      out.emplace_back();
      for (const char c : line)
        if (std::string(".,!?;:\"").find(c) == std::string::npos) out.back() += c;
    } else {
      for (size_t j = 0; j < w.size(); ++j) {
        if (op == "reverse") kept.push_back(w[w.size() - 1 - j]);
        if (op == "first" && j < k) kept.push_back(w[j]);
        if (op == "dropevery" && (j + 1) % k != 0) kept.push_back(w[j]);
        if (op == "swap")
          kept.push_back(j % 2 == 1 ? w[j - 1] : j + 1 < w.size() ? w[j + 1] : w[j]);
        if (op == "dup") kept.push_back(w[j]);
      }
      if (op == "dup") kept.insert(kept.end(), w.begin(), w.end());
      EXPECT_TRUE(op == "reverse" || op == "first" || op == "dropevery" || op == "swap" ||
                  op == "dup")
          << op;
      out.push_back(joined(kept));
    }
  }
  return out;
}

TEST(BleuFixtures, Files) {
  int count = 0, missing = 0;
  for (Row& row : read_rows()) {
    if (row["kind"] != "file") continue;
    std::string path = fixtures() + "/" + row["refs"];
    if (!std::filesystem::exists(path)) path += ".gz";
    if (!std::filesystem::exists(path)) {
      ++missing;
      continue;
    }
    SCOPED_TRACE(row["id"]);
    std::vector<std::string> lines = split(read_file(path), "\n");
    if (lines.back().empty()) lines.pop_back();
    const std::vector<std::string> parts = split(row["hyp"].substr(0, row["hyp"].find('(')), ":");
    const size_t k = parts.size() > 1 ? std::stoul(parts[1]) : 1;
    std::vector<Lines> refs;
    for (const std::string& line : lines) refs.push_back({line});
    expect_corpus(row, derive(parts[0], k, lines), refs);
    ++count;
  }
  if (missing > 0)
    GTEST_SKIP() << missing << " rows need Multi30k files beside the fixture; " << count << " ran";
}

TEST(Bleu, LinesAndSignatures) {
  BleuOptions options;
  const BleuScore score =
      corpus_bleu({"The cat is on the mat."}, {{"The cat sat on the mat."}}, options);
  EXPECT_EQ(score.text(),
            "BLEU = 48.89 85.7/66.7/40.0/25.0 (BP = 1.000 ratio = 1.000 hyp_len = 7 ref_len = 7)");
  EXPECT_EQ(score.text("x:1").substr(0, 17), "BLEU|x:1 = 48.89 ");
  EXPECT_EQ(BleuScore().text(),
            "BLEU = 0.00 0.0/0.0/0.0/0.0 (BP = 0.000 ratio = 0.000 hyp_len = 0 ref_len = 0)");
  EXPECT_EQ(bleu_signature(options),
            "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:switchyard-0.1");
  options.lower_case = options.effective_order = true;
  options.smooth = "floor";
  EXPECT_EQ(bleu_signature(options),
            "nrefs:1|case:lc|eff:yes|tok:13a|smooth:floor[0.10]|version:switchyard-0.1");
  options.smooth = "add-k";
  EXPECT_EQ(bleu_signature(options),
            "nrefs:1|case:lc|eff:yes|tok:13a|smooth:add-k[1.00]|version:switchyard-0.1");
  EXPECT_EQ(chrf_signature({.word_order = 2}),
            "nrefs:1|case:mixed|eff:yes|nc:6|nw:2|space:no|version:switchyard-0.1");
  EXPECT_EQ(chrf_text(66.8139, {.word_order = 2}), "chrF2++ = 66.81");
  EXPECT_EQ(chrf_text(66.8139, {}, "s:1"), "chrF2|s:1 = 66.81");
}

TEST(Bleu, ShortAndVaryingSignatures) {
  BleuOptions options{.lower_case = true, .smooth = "floor", .smooth_value = 0.5};
  EXPECT_EQ(bleu_signature(options, "2", true),
            "#:2|c:lc|e:no|tok:13a|s:floor[0.50]|v:switchyard-0.1");
  const ChrfOptions chrf{.word_order = 2, .keep_white_space = true, .epsilon_smoothing = true};
  EXPECT_EQ(chrf_signature(chrf, "var", true),
            "#:var|c:mixed|e:no|nc:6|nw:2|s:yes|v:switchyard-0.1");
  EXPECT_EQ(count_references({{"a"}, {"b"}}), "1");
  EXPECT_EQ(count_references({{"a", ""}, {"b", "c"}}), "2");
  EXPECT_EQ(count_references({{"a", "b"}, {"c"}}), "var");
  EXPECT_EQ(BleuScore{.score = 12.3456789}.text("", 5).substr(0, 17), "BLEU = 12.34568 0");
  EXPECT_EQ(chrf_text(66.8139, {}, "", 0), "chrF2 = 67");
}

// A reference that a segment lacks is skipped, an empty one has length 0.
TEST(Bleu, MissingAndEmptyReferences) {
  const Lines hyps = {"a b c d", "e f g"};
  EXPECT_EQ(corpus_bleu(hyps, {{"a b c d e"}, {"e f g", ""}}, {}).ref_len, 8);
  EXPECT_EQ(corpus_bleu({"", "e f g"}, {{"a b c d e", ""}, {"e f g"}}, {}).ref_len, 3);
}

TEST(Bleu, TokenizersBeyondTheFixture) {
  const auto tokens = [](const char* name, const std::string& line) {
    BleuOptions options;
    options.tokenizer = name;
    return bleu_tokenize(line, options);
  };
  EXPECT_EQ(tokens("13a", "a <skipped>b, c."), "a b , c .");
  EXPECT_EQ(tokens("13a", "It is 5."), "It is 5 .");
  EXPECT_EQ(tokens("zh", "  .5 \xE3\x80\x80"), ".5");
  EXPECT_EQ(tokens("zh", "\xF0\xA0\x80\x80\xE4\xB8\x80"),
            "\xF0\xA0\x80\x80 \xE4\xB8\x80");  // U+20000 stays whole
  EXPECT_EQ(tokens("none", " a\tb \xC2\xA0"), " a\tb");
  EXPECT_EQ(tokens("intl", "x=1 (½) a…b"), "x = 1 ( ½ ) a … b");
  EXPECT_THROW(tokens("flores200", "cat"), UserError);
}

TEST(Bleu, LowerCaseIsFullUnicode) {
  EXPECT_EQ(lower("ΟΔΟΣ ΣΟΣ Σ"), "οδος σος σ");  // final sigma only after a letter
  EXPECT_EQ(lower("Straße İI"), "straße i̇i");
}

TEST(Bleu, MistakesAreErrors) {
  for (const char* bad : {"\xff", "a\xC3", "\xED\xA0\x80", "\xC0\x80", "\xF4\x90\x80\x80"}) {
    EXPECT_THROW(corpus_bleu({bad}, {{"a"}}, {}), UserError);
    EXPECT_THROW(corpus_chrf({"a"}, {{bad}}, {}), UserError);
  }
  EXPECT_THROW(corpus_bleu({"a", "b"}, {{"a"}}, {}), UserError);
  BleuOptions options;
  options.smooth = "add-K";
  EXPECT_THROW(corpus_bleu({"a"}, {{"a"}}, options), UserError);
  EXPECT_THROW(corpus_bleu({"a"}, {{}}, {}), Error);
  EXPECT_THROW(corpus_chrf({"a"}, {{}}, {}), Error);
}

TEST(Bleu, UnknownPiecesNeverMatch) {
  const std::vector<int32_t> hyp = {5, 6, 3, 7, 8}, ref = {5, 6, 3, 7, 8}, known = {5, 6, 7, 8};
  EXPECT_EQ(piece_line(hyp, false), "<language> 5 6 3 7 8 ");
  BleuOptions options{.tokenizer = "none", .smooth = "none"};
  const BleuScore score = corpus_bleu({piece_line(hyp, false)}, {{piece_line(ref, true)}}, options);
  EXPECT_EQ(score.hyp_len, 6);  // the leading language token counts
  EXPECT_EQ(score.ref_len, 6);
  EXPECT_EQ(score.match, (std::array<double, 4>{5, 3, 1, 0}));
  EXPECT_EQ(score.total, (std::array<double, 4>{6, 5, 4, 3}));
  EXPECT_EQ(score.score, 0);
  const std::string line = piece_line(known, false);
  EXPECT_DOUBLE_EQ(corpus_bleu({line}, {{piece_line(known, true)}}, options).score, 100);
  EXPECT_EQ(corpus_bleu({piece_line({}, false)}, {{line}}, options).hyp_len, 1);
}

// Runs of one kind of character are where a rule's matching could become quadratic or exhaust ICU's stack.
TEST(Bleu, LongLinesTakeLinearTime) {
  for (const std::string piece : {"a", " ", ".", "\xE4\xB8\x80", "1", "-", "a "}) {
    std::string line;
    for (int i = 0; i < 20000; ++i) line += piece;
    for (const char* tokenizer : {"13a", "intl", "zh", "char", "none"})
      corpus_bleu({line}, {{line}}, {.tokenizer = tokenizer});
    corpus_chrf({line}, {{line}}, {.word_order = 2});
  }
}

}  // namespace
}  // namespace switchyard
