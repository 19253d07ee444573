// Text as BLEU and chrF see it: code points, white space, lower case, and counted n-grams (specs/bleu.md 1, 2, 4).
#pragma once
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "data/utf8.h"
#include "tensor/check.h"

namespace switchyard {

// A sequence of symbols: the code points of a text, the numbers of its words, or token ids.
using Symbols = std::u32string;

Symbols decode_utf8(const std::string& text);  // invalid UTF-8 is a UserError
std::string encode_utf8(const Symbols& text);
Symbols lower_case(const Symbols& text);  // full Unicode mappings
std::vector<Symbols> split_white_space(const Symbols& text);
bool is_ascii_punctuation(char32_t c);

// Words as one symbol each, numbered in order of appearance; the texts of a segment share `numbers`.
using WordNumbers = std::unordered_map<Symbols, char32_t>;
Symbols number_words(const std::vector<Symbols>& words, WordNumbers& numbers);

using References = std::vector<std::string>;  // of one segment

// N-grams of one order, of a segment or summed over a corpus.
struct OrderTotals {
  int64_t hypothesis = 0, reference = 0, match = 0;
};
using NgramTotals = std::vector<OrderTotals>;  // orders 1, 2, ...
NgramTotals& operator+=(NgramTotals& sum, const NgramTotals& more);

// match: sum over hypothesis n-grams of min(count there, largest count in any reference); reference: n-grams
// of the one nearest in length, the shorter on a tie.
NgramTotals count_matches(const Symbols& hypothesis, const std::vector<Symbols>& references,
                          size_t orders);

// Sum of counts(hypothesis, references) over the segments of a corpus.
template <class Counts>
NgramTotals sum_segments(const std::vector<std::string>& hypotheses,
                         const std::vector<References>& references, const Counts& counts) {
  user_check(hypotheses.size() == references.size(),
             concat("cannot score ", hypotheses.size(), " hypotheses with ", references.size(),
                    " references"));
  NgramTotals sum;
  for (size_t i = 0; i < hypotheses.size(); ++i) sum += counts(hypotheses[i], references[i]);
  return sum;
}

std::string fixed(double value, int digits);  // 1.50

}  // namespace switchyard
