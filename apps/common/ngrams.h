// What BLEU and chrF share (specs/bleu.md 1 to 4): rules that turn a line into tokens, and the n-grams of
// tokens that two lines have in common. A tokenised line is text again: tokens between white space.
#pragma once
#include <unicode/regex.h>

#include <memory>
#include <string>
#include <vector>

namespace switchyard {

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

using Lines = std::vector<std::string>;
// All lines tokenised. match: sum over hypothesis n-grams of min(count there, largest count in any
// reference); reference: n-grams of the one nearest in length, the shorter on a tie.
NgramTotals count_matches(std::string hypothesis, Lines references, size_t orders);

}  // namespace switchyard
