#include "apps/common/ngrams.h"

#include <unicode/locid.h>

#include "data/utf8.h"

namespace switchyard {

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

namespace {

// Parts of one line, in order, with one space between all of them or nothing; so are n-grams of them.
// Sorted n-grams are a multiset.
using Tokens = std::vector<std::string_view>;

Tokens tokens_of(std::string& line, Unit unit) {
  static const Rules one_space = {{"[" + kSpaces + "]+", " "}};
  if (unit == Unit::Word) {
    line = rewrite(line, one_space);
    return split_words(line);
  }
  Tokens tokens;
  for (size_t from = 0, to = 0; from < line.size(); from = to) {
    U8_FWD_1(line.data(), to, line.size());
    tokens.emplace_back(line.data() + from, to - from);
  }
  return tokens;
}

Tokens ngrams(const Tokens& tokens, size_t n) {
  Tokens all;
  for (size_t i = 0; i + n <= tokens.size(); ++i)
    all.emplace_back(tokens[i].begin(), tokens[i + n - 1].end());
  std::ranges::sort(all);
  return all;
}

}  // namespace

NgramTotals count_matches(Lines lines, size_t orders, Unit unit) {
  std::vector<Tokens> others;
  for (std::string& line : lines) others.push_back(tokens_of(line, unit));
  const Tokens hypothesis = std::move(others.front());
  others.erase(others.begin());
  const Tokens& nearest = *std::ranges::min_element(others, {}, [&](const Tokens& other) {
    return std::pair(std::abs(std::ssize(other) - std::ssize(hypothesis)), other.size());
  });
  NgramTotals totals;
  for (size_t n = 1; n <= orders; ++n) {
    const Tokens mine = ngrams(hypothesis, n);
    Tokens most, shared;
    for (const Tokens& other : others) {
      Tokens larger;  // of multisets: the union has the larger count, the intersection the smaller
      std::ranges::set_union(most, ngrams(other, n), std::back_inserter(larger));
      most = std::move(larger);
    }
    std::ranges::set_intersection(mine, most, std::back_inserter(shared));
    totals.push_back(
        {double(mine.size()), double(ngrams(nearest, n).size()), double(shared.size())});
  }
  return totals;
}

NgramTotals sum_segments(
    const Lines& hypotheses, const std::vector<Lines>& references, size_t orders,
    const std::function<NgramTotals(const std::string&, const Lines&)>& counts) {
  user_check(hypotheses.size() == references.size(),
             concat("cannot score ", hypotheses.size(), " hypotheses with ", references.size(),
                    " references"));
  NgramTotals sum(orders);
  for (size_t i = 0; i < hypotheses.size(); ++i) {
    check(!references[i].empty(), "a segment to score has no reference");
    const NgramTotals more = counts(hypotheses[i], references[i]);
    for (size_t n = 0; n < orders; ++n) {
      sum[n].hypothesis += more[n].hypothesis;
      sum[n].reference += more[n].reference;
      sum[n].match += more[n].match;
    }
  }
  return sum;
}

std::string count_references(const std::vector<Lines>& references) {
  for (const Lines& of_segment : references)
    if (of_segment.size() != references[0].size()) return "var";
  return std::to_string(references.empty() ? 1 : references[0].size());
}

std::string signature(const std::string& references,
                      const std::vector<std::array<std::string, 3>>& fields, bool short_names) {
  std::string text = (short_names ? "#:" : "nrefs:") + references;
  for (const auto& [name, short_name, value] : fields)
    text += concat("|", short_names ? short_name : name, ":", value);
  return text + (short_names ? "|v:" : "|version:") + "switchyard-" SWITCHYARD_VERSION;
}

}  // namespace switchyard
