// BLEU as sacreBLEU 2.6.0 computes it (specs/bleu.md): prepare, tokenise, count n-grams of 1..4 tokens,
// BLEU = BP * exp(mean of ln precisions). Also BLEU over token ids (specs/hmoe.md 4.5).
#pragma once
#include <array>
#include <optional>
#include <span>

#include "apps/common/score_text.h"

namespace switchyard {

struct BleuOptions {
  std::string tokenizer = "13a";  // 13a, intl, zh, char, none
  bool lower_case = false;
  std::string smooth = "exp";          // exp, floor, add-k, none
  std::optional<double> smooth_value;  // floor 0.1, add-k 1
  bool effective_order = false;        // the usual choice for single sentences
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
// Lengths of hypothesis and nearest reference are the n-gram totals of order 1.
NgramTotals bleu_counts(const std::string& hypothesis, const References& references,
                        const BleuOptions& options);
BleuScore bleu_score(const NgramTotals& counts, const BleuOptions& options);
BleuScore corpus_bleu(const std::vector<std::string>& hypotheses,
                      const std::vector<References>& references, const BleuOptions& options);

// Ids as in hmoe.md 4.5: end tokens and padding are trimmed at the ends, <unk> never matches. Score with
// smooth = "none".
NgramTotals piece_bleu_counts(std::span<const int32_t> hypothesis,
                              std::span<const int32_t> reference, int32_t pad, int32_t eos,
                              int32_t unk);

// "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:switchyard-0.1"
std::string bleu_signature(const BleuOptions& options);

}  // namespace switchyard
