// chrF and chrF++ as sacreBLEU 2.6.0 computes them (specs/bleu.md 7): F score, recall weighted beta^2 = 4, of
// n-grams of 1..6 characters and, for chrF++, 1..2 words.
#pragma once
#include "apps/common/ngrams.h"

namespace switchyard {

struct ChrfOptions {
  size_t word_order = 0;  // 2 = chrF2++
  bool lower_case = false;
  bool keep_white_space = false;  // in character n-grams
  bool epsilon_smoothing =
      false;  // mean of the F scores of all orders, 1e-16 for an order without n-grams
};

// Of several references of a segment the one with the highest score counts, the first on a tie.
double corpus_chrf(const Lines& hypotheses, const std::vector<Lines>& references,
                   const ChrfOptions& options);
// "nrefs:1|case:mixed|eff:yes|nc:6|nw:2|space:no|version:switchyard-0.1"
std::string chrf_signature(const ChrfOptions& options, const std::string& references = "1",
                           bool short_names = false);
std::string chrf_name(const ChrfOptions& options);  // "chrF2++"
// "chrF2++ = 66.81"; with a signature "chrF2++|<signature> = 66.81"; width: decimals
std::string chrf_text(double score, const ChrfOptions& options, const std::string& signature = "",
                      int width = 2);

}  // namespace switchyard
