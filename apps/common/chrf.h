// chrF2 and chrF2++ as sacreBLEU 2.6.0 computes them (specs/bleu.md 7): the F score, recall weighted beta^2 = 4,
// of character n-grams (orders 1..6) and, for ++, word n-grams (orders 1..2).
#pragma once
#include "apps/common/score_text.h"

namespace switchyard {

struct ChrfOptions {
  size_t word_order = 0;  // 2 = chrF2++
  bool lower_case = false;
};

double chrf_score(const NgramTotals& counts);  // characters 1..6, then words 1..
double corpus_chrf(const std::vector<std::string>& hypotheses,
                   const std::vector<References>& references, const ChrfOptions& options);
std::string chrf_signature(const ChrfOptions& options);
// "chrF2++ = 66.81"; with a signature "chrF2++|<signature> = 66.81"
std::string chrf_text(double score, const ChrfOptions& options, const std::string& signature = "");

}  // namespace switchyard
