#include "apps/common/score_text.h"

#include <unicode/locid.h>
#include <unicode/unistr.h>

#include <cctype>
#include <iomanip>

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

std::vector<Symbols> split_white_space(const Symbols& text) {
  std::vector<Symbols> pieces;
  bool inside = false;
  for (const char32_t c : text) {
    const bool space = is_white_space(static_cast<UChar32>(c));
    if (!space && !inside) pieces.emplace_back();
    if (!space) pieces.back() += c;
    inside = !space;
  }
  return pieces;
}

bool is_ascii_punctuation(char32_t c) { return c < 0x80 && std::ispunct(static_cast<int>(c)); }

Symbols number_words(const std::vector<Symbols>& words, WordNumbers& numbers) {
  Symbols out;
  for (const Symbols& word : words)
    out += numbers.try_emplace(word, static_cast<char32_t>(numbers.size())).first->second;
  return out;
}

NgramTotals& operator+=(NgramTotals& sum, const NgramTotals& more) {
  sum.resize(std::max(sum.size(), more.size()));
  for (size_t n = 0; n < more.size(); ++n) {
    sum[n].hypothesis += more[n].hypothesis;
    sum[n].reference += more[n].reference;
    sum[n].match += more[n].match;
  }
  return sum;
}

NgramTotals count_matches(const Symbols& hypothesis, const std::vector<Symbols>& references,
                          size_t orders) {
  check(!references.empty(), "a segment to score has no reference");
  const auto length = static_cast<int64_t>(hypothesis.size());
  std::pair<int64_t, int64_t> nearest{INT64_MAX, 0};  // distance, length
  for (const Symbols& reference : references) {
    const auto other = static_cast<int64_t>(reference.size());
    nearest = std::min(nearest, {std::abs(other - length), other});
  }
  const auto count_ngrams = [](const Symbols& symbols, size_t n) {
    std::unordered_map<Symbols, int64_t> counts;
    for (size_t i = 0; i + n <= symbols.size(); ++i) ++counts[symbols.substr(i, n)];
    return counts;
  };
  NgramTotals totals;
  for (size_t n = 1; n <= orders; ++n) {
    std::unordered_map<Symbols, int64_t> most;  // per n-gram: its largest count in any reference
    for (const Symbols& reference : references)
      for (const auto& [ngram, count] : count_ngrams(reference, n))
        most[ngram] = std::max(most[ngram], count);
    const auto ngrams_in = [n](int64_t symbols) {
      return std::max<int64_t>(0, symbols - static_cast<int64_t>(n) + 1);
    };
    OrderTotals order{ngrams_in(length), ngrams_in(nearest.second), 0};
    for (const auto& [ngram, count] : count_ngrams(hypothesis, n))
      if (const auto found = most.find(ngram); found != most.end())
        order.match += std::min(count, found->second);
    totals.push_back(order);
  }
  return totals;
}

std::string fixed(double value, int digits) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << value;
  return out.str();
}

}  // namespace switchyard
