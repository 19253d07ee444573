// Text as BLEU and chrF see it: code points, white space, lower case, and counted n-grams (specs/bleu.md 1, 2).
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace switchyard {

// A sequence of symbols: the code points of a text, the numbers of its words, or token ids.
using Symbols = std::u32string;

Symbols decode_utf8(const std::string& text);  // invalid UTF-8 is a UserError
std::string encode_utf8(const Symbols& text);
Symbols lower_case(const Symbols& text);  // full Unicode mappings
bool is_white_space(char32_t c);
std::vector<Symbols> split_white_space(const Symbols& text);

// Numbers words in order of appearance; hypothesis and references of a segment share one.
class WordNumbers {
 public:
  Symbols operator()(const std::vector<Symbols>& words);

 private:
  std::unordered_map<Symbols, char32_t> numbers_;
};

using NgramCounts = std::unordered_map<Symbols, int64_t>;
NgramCounts count_ngrams(const Symbols& symbols, size_t n);
int64_t ngrams_in(size_t length, size_t n);  // max(0, length - n + 1)
// Sum over hypothesis n-grams of min(count in hypothesis, count in reference).
int64_t clipped_matches(const NgramCounts& hypothesis, const NgramCounts& reference);

}  // namespace switchyard
