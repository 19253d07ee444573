// chrF2 and chrF2++ as sacreBLEU 2.6.0 computes them (specs/bleu.md 7): the F score, recall weighted beta^2,
// of character n-grams (orders 1..6) and, for ++, word n-grams (orders 1..2).
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "apps/common/bleu.h"

namespace switchyard {

struct ChrfOptions {
  int char_order = 6, word_order = 0;  // word_order 2 = chrF2++
  double beta = 2;
  bool lower_case = false, keep_white_space = false;
  bool epsilon = false;  // mean over all orders, 1e-16 where one is empty
};

struct ChrfOrder {
  int64_t hypothesis = 0, reference = 0, match = 0;  // n-grams
};
using ChrfCounts = std::vector<ChrfOrder>;  // characters 1.., then words 1..

ChrfCounts chrf_counts(const std::string& hypothesis, const References& references,
                       const ChrfOptions& options);
double chrf_score(const ChrfCounts& counts, const ChrfOptions& options);
double corpus_chrf(const std::vector<std::string>& hypotheses,
                   const std::vector<References>& references, const ChrfOptions& options);
std::string chrf_signature(const ChrfOptions& options, int nrefs, const SignatureFields& extra = {},
                           bool short_names = false);
// "chrF2++ = 66.81"; with a signature "chrF2++|<signature> = 66.81"
std::string chrf_text(double score, const ChrfOptions& options, const std::string& signature = "",
                      int width = 2);

}  // namespace switchyard
