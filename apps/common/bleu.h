// BLEU and chrF as sacreBLEU 2.6.0 computes them (specs/bleu.md). A corpus is a list of hypotheses and, for
// each, its references. Rules turn a line into tokens: text between white space again.
//   BLEU = BP * exp(mean of ln precisions) of n-grams of 1..4 tokens
//   chrF = F score, recall weighted beta^2 = 4, of n-grams of 1..6 characters and, for chrF++, 1..2 words
#pragma once
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <unicode/regex.h>

namespace switchyard {

using Lines = std::vector<std::string>;

inline const std::string kSpaces = R"(\p{White_Space}\x1C-\x1F)";  // for use in [] of a rule

// A substitution of all matches in the line as it was before the rule: text that one match consumed takes
// no part in the next.
struct Rule {
  Rule(const std::string& regex, const char* replacement);  // ICU's syntax, $0 = the match
  std::shared_ptr<const icu::RegexPattern> pattern;
  icu::UnicodeString replacement;
};
using Rules = std::vector<Rule>;  // one after another
// Lower case (full Unicode mappings) first, if wanted. Invalid UTF-8 is a UserError.
std::string rewrite(const std::string& line, const Rules& rules, bool lower_case = false);

struct BleuOptions {
  std::string tokenizer = "13a";  // 13a, intl, zh, char, none
  bool lower_case = false;
  std::string smooth = "exp";                         // exp, floor, add-k, none
  std::optional<double> smooth_value = std::nullopt;  // floor 0.1, add-k 1
  bool effective_order = false;                       // the usual choice for single sentences
};

struct BleuScore {
  double score = 0, brevity_penalty = 0;
  std::array<double, 4> precisions{}, match{}, total{};  // add-k is included in match and total
  int64_t hyp_len = 0, ref_len = 0;
  // "BLEU = 27.31 70.0/44.4/20.0/7.1 (BP = 1.000 ...)"; with a signature "BLEU|<signature> = ..."
  std::string text(const std::string& signature = "") const;
};

// The line after the tokeniser, before it is split into tokens.
std::string bleu_tokenize(const std::string& line, const BleuOptions& options);
BleuScore corpus_bleu(const Lines& hypotheses, const std::vector<Lines>& references,
                      const BleuOptions& options);
// "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:switchyard-0.1"
std::string bleu_signature(const BleuOptions& options);

struct ChrfOptions {
  size_t word_order = 0;  // 2 = chrF2++
  bool lower_case = false;
};

double corpus_chrf(const Lines& hypotheses, const std::vector<Lines>& references,
                   const ChrfOptions& options);
std::string chrf_signature(const ChrfOptions& options);
// "chrF2++ = 66.81"; with a signature "chrF2++|<signature> = 66.81"
std::string chrf_text(double score, const ChrfOptions& options, const std::string& signature = "");

}  // namespace switchyard
