// BLEU as sacreBLEU 2.6.0 computes it (specs/bleu.md 2-6): BP * exp(mean of ln precisions) of n-grams of 1..4
// tokens, which rules, or a SentencePiece model, cut from a line.
#pragma once
#include <optional>

#include "apps/common/ngrams.h"

namespace switchyard {

struct BleuOptions {
  std::string tokenizer = "13a";  // 13a, intl, zh, char, none, spm-<name>
  bool lower_case = false;
  std::string smooth = "exp";                         // exp, floor, add-k, none
  std::optional<double> smooth_value = std::nullopt;  // floor 0.1, add-k 1
  bool effective_order = false;                       // the usual choice for single sentences
  // Of spm-<name>: a line -> its pieces with spaces between them
  std::function<std::string(const std::string&)> pieces = {};
};

struct BleuScore {
  double score = 0, brevity_penalty = 0;
  std::array<double, 4> precisions{}, match{}, total{};  // add-k is included in match and total
  int64_t hyp_len = 0, ref_len = 0;
  // "BLEU = 27.31 70.0/44.4/20.0/7.1 (BP = 1.000 ...)"; with a signature "BLEU|<signature> = ..."; width:
  // decimals of the score
  std::string text(const std::string& signature = "", int width = 2) const;
};

// UserError when there is no such tokeniser or smoothing method.
void validate(const BleuOptions& options);
// The `pieces` of a SentencePiece model; UserError names the file.
std::function<std::string(const std::string&)> sentencepiece_pieces(const std::string& model_file);
// The line after the tokeniser, before it is split into tokens.
std::string bleu_tokenize(const std::string& line, const BleuOptions& options);
BleuScore corpus_bleu(const Lines& hypotheses, const std::vector<Lines>& references,
                      const BleuOptions& options);
// "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:switchyard-0.1"
std::string bleu_signature(const BleuOptions& options, const std::string& references = "1",
                           bool short_names = false);

}  // namespace switchyard
