// What BLEU and chrF share (specs/bleu.md 1, 2, 4, 6): rules that rewrite lines, n-grams that hypotheses and
// references have in common, signatures. A corpus is a list of hypotheses and, for each, its references.
#pragma once
#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <unicode/regex.h>

namespace switchyard {

using Lines = std::vector<std::string>;

inline const std::string kSpaces = R"(\p{White_Space}\x1C-\x1F)";  // for use in [] of a rule

// A substitution of all matches in the line as it was before the rule: text that one match consumed takes
// no part in the next.
struct Rule {
  Rule(const std::string& regex, const char* replacement);  // ICU's syntax, $0 = the match
  std::shared_ptr<const icu::RegexPattern> pattern;
  icu::UnicodeString replacement;
};
using Rules = std::vector<Rule>;  // one after another
// Lower case (full Unicode mappings) first, if wanted. Invalid UTF-8 is a UserError.
std::string rewrite(const std::string& line, const Rules& rules, bool lower_case = false);

// N-grams of one order, of a segment or summed over a corpus.
struct OrderTotals {
  double hypothesis = 0, reference = 0, match = 0;
};
using NgramTotals = std::vector<OrderTotals>;  // orders 1, 2, ...

enum class Unit { Word, CodePoint };  // words: text between white space
// match: sum over hypothesis n-grams of min(count there, largest count in any reference); reference: n-grams
// of the one nearest in length, the shorter on a tie.
NgramTotals count_matches(Lines lines, size_t orders, Unit unit);  // lines: hypothesis, references

// Sum of counts(hypothesis, its references) over a corpus. UserError when the numbers of lines differ.
NgramTotals sum_segments(
    const Lines& hypotheses, const std::vector<Lines>& references, size_t orders,
    const std::function<NgramTotals(const std::string&, const Lines&)>& counts);

// References of each segment as signatures say it: "1", "2", or "var" when it varies.
std::string count_references(const std::vector<Lines>& references);
// "nrefs:1|case:mixed|...|version:switchyard-0.1", from {name, short name, value} of what lies between
std::string signature(const std::string& references,
                      const std::vector<std::array<std::string, 3>>& fields, bool short_names);

}  // namespace switchyard
