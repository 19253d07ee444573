#include "apps/common/score_text.h"

#include <unicode/locid.h>
#include <unicode/unistr.h>

#include "data/utf8.h"
#include "tensor/check.h"

namespace switchyard {

Symbols decode_utf8(const std::string& text) {
  Symbols out;
  for_each_code_point(text, [&](UChar32 c) {
    user_check(c >= 0,
               concat("invalid UTF-8 after '", encode_utf8(out), "': text to score must be UTF-8"));
    out += static_cast<char32_t>(c);
  });
  return out;
}

std::string encode_utf8(const Symbols& text) {
  std::string out;
  for (const char32_t c : text) append_utf8(out, static_cast<UChar32>(c));
  return out;
}

Symbols lower_case(const Symbols& text) {
  auto lower = icu::UnicodeString::fromUTF8(encode_utf8(text));
  lower.toLower(icu::Locale::getRoot());  // root: no Turkish or Lithuanian special rules
  std::string utf8;
  return decode_utf8(lower.toUTF8String(utf8));
}

bool is_white_space(char32_t c) {
  return (c >= 0x9 && c <= 0xD) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

std::vector<Symbols> split_white_space(const Symbols& text) {
  std::vector<Symbols> pieces;
  bool inside = false;
  for (const char32_t c : text) {
    const bool space = is_white_space(c);
    if (!space && !inside) pieces.emplace_back();
    if (!space) pieces.back() += c;
    inside = !space;
  }
  return pieces;
}

Symbols WordNumbers::operator()(const std::vector<Symbols>& words) {
  Symbols numbers;
  for (const Symbols& word : words)
    numbers += numbers_.try_emplace(word, static_cast<char32_t>(numbers_.size())).first->second;
  return numbers;
}

NgramCounts count_ngrams(const Symbols& symbols, size_t n) {
  NgramCounts counts;
  for (size_t i = 0; i + n <= symbols.size(); ++i) ++counts[symbols.substr(i, n)];
  return counts;
}

int64_t ngrams_in(size_t length, size_t n) {
  return length < n ? 0 : static_cast<int64_t>(length - n + 1);
}

int64_t clipped_matches(const NgramCounts& hypothesis, const NgramCounts& reference) {
  int64_t matches = 0;
  for (const auto& [ngram, count] : hypothesis) {
    const auto found = reference.find(ngram);
    if (found != reference.end()) matches += std::min(count, found->second);
  }
  return matches;
}

}  // namespace switchyard
