// BLEU and chrF as sacreBLEU 2.6.0 computes them (specs/bleu.md). A corpus is a list of hypotheses and, for
// each, its references.
//   BLEU = BP * exp(mean of ln precisions) of n-grams of 1..4 tokens
//   chrF = F score, recall weighted beta^2 = 4, of n-grams of 1..6 characters and, for chrF++, 1..2 words
#pragma once
#include <array>
#include <optional>

#include "apps/common/ngrams.h"

namespace switchyard {

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
