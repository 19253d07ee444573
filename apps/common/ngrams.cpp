#include "apps/common/ngrams.h"

#include <unicode/locid.h>

#include <algorithm>
#include <iterator>

#include "data/utf8.h"
#include "tensor/check.h"

namespace switchyard {
namespace {

// Words that lie in one line with one space between them; so do n-grams of them. Sorted n-grams are a
// multiset.
using Words = std::vector<std::string_view>;

Words ngrams(const Words& words, size_t n) {
  Words all;
  for (size_t i = 0; i + n <= words.size(); ++i)
    all.emplace_back(words[i].begin(), words[i + n - 1].end());
  std::ranges::sort(all);
  return all;
}

}  // namespace

Rule::Rule(const std::string& regex, const char* with) : replacement(with, "UTF-8") {
  UErrorCode status = U_ZERO_ERROR;
  UParseError where;
  pattern.reset(icu::RegexPattern::compile(regex.c_str(), where, status));
  check(U_SUCCESS(status), concat("rule ", regex, ": ", u_errorName(status)));
}

std::string rewrite(const std::string& line, const Rules& rules, bool lower_case) {
  auto text = icu::UnicodeString::fromUTF8(line);
  std::string out;
  if (!valid_utf8(line))
    throw UserError("text to score must be UTF-8, got '" + text.toUTF8String(out) + "'");
  if (lower_case) text.toLower(icu::Locale::getRoot());  // no Turkish or Lithuanian special rules
  for (const Rule& rule : rules) {
    UErrorCode status = U_ZERO_ERROR;
    const std::unique_ptr<icu::RegexMatcher> matcher(rule.pattern->matcher(text, status));
    check(U_SUCCESS(status), u_errorName(status));
    const icu::UnicodeString replaced = matcher->replaceAll(rule.replacement, status);
    check(U_SUCCESS(status), u_errorName(status));
    text = replaced;
  }
  return text.toUTF8String(out);
}

NgramTotals count_matches(std::string hypothesis, Lines references, size_t orders) {
  check(!references.empty(), "a segment to score has no reference");
  static const Rules one_space = {{"[" + kSpaces + "]+", " "}};
  const auto split = [](std::string& line) {
    line = rewrite(line, one_space);
    return split_words(line);
  };
  const Words words = split(hypothesis);
  std::vector<Words> others;
  for (std::string& reference : references) others.push_back(split(reference));
  const Words& nearest = *std::ranges::min_element(others, {}, [&](const Words& other) {
    return std::pair(std::abs(std::ssize(other) - std::ssize(words)), other.size());
  });
  NgramTotals totals;
  for (size_t n = 1; n <= orders; ++n) {
    const Words mine = ngrams(words, n);
    Words most, shared;
    for (const Words& other : others) {
      Words larger;  // of multisets: the union has the larger count, the intersection the smaller
      std::ranges::set_union(most, ngrams(other, n), std::back_inserter(larger));
      most = std::move(larger);
    }
    std::ranges::set_intersection(mine, most, std::back_inserter(shared));
    totals.push_back(
        {double(mine.size()), double(ngrams(nearest, n).size()), double(shared.size())});
  }
  return totals;
}

}  // namespace switchyard
