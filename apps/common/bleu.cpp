// Rules, n-grams, tokenisers, scores and signatures of specs/bleu.md.
#include "apps/common/bleu.h"

#include <unicode/locid.h>

#include <cmath>

#include "apps/common/text_table.h"

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

// Each tokeniser is a list of these. Pair rules consume both characters.
const std::vector<const Rules*>& tokenizer_rules(const std::string& name) {
  static const Rules entities = {{"<skipped>", ""}, {"-\n", ""},      {"\n", " "},
                                 {"&quot;", "\""},  {"&amp;", "&"},   {"&lt;", "<"},
                                 {"&gt;", ">"},     {R"(\A|\z)", " "}};
  static const Rules punctuation = {
      // all of ASCII except apostrophe, comma, hyphen, full stop
      {R"([\x20-\x26\x28-\x2B\x2F\x3A-\x40\x5B-\x60\x7B-\x7E])", " $0 "},
      {"([^0-9])([.,])", "$1 $2 "},
      {"([.,])([^0-9])", " $1 $2"},
      {"([0-9])-", "$1 - "}};
  static const Rules categories = {
      {R"((\P{N})(\p{P}))", "$1 $2 "}, {R"((\p{P})(\P{N}))", " $1 $2"}, {R"(\p{S})", " $0 "}};
  // Trimmed first: blanks are Chinese too, and a blank before a full stop would split it off. The last two
  // ranges come from the reference's four-digit escapes of supplementary ranges; they cover general
  // punctuation, arrows and mathematical operators and change scores.
  static const Rules chinese = {
      {R"(\A[)" + kSpaces + "]+", ""},
      {R"([\u3400-\u4DB5\u4E00-\u9FA5\u9FA6-\u9FBB\uF900-\uFA2D\uFA30-\uFA6A\uFA70-\uFAD9)"
       R"(\uFF00-\uFFEF\u2E80-\u2EFF\u3000-\u303F\u31C0-\u31EF\u2F00-\u2FDF\u2FF0-\u2FFF)"
       R"(\u3100-\u312F\u31A0-\u31BF\uFE10-\uFE1F\uFE30-\uFE4F\u2600-\u26FF\u2700-\u27BF)"
       R"(\u3200-\u32FF\u3300-\u33FF\u2001-\u2A6D\u2F81-\u2FA1])",
       " $0 "}};
  static const Rules characters = {{R"((?s)(?!\A).)", " $0"}};
  static const Rules join = {{"[" + kSpaces + "]+", " "}, {R"(\A | \z)", ""}};
  static const std::map<std::string, std::vector<const Rules*>> tokenizers = {
      {"13a", {&entities, &punctuation, &join}},
      {"intl", {&categories, &join}},
      {"zh", {&chinese, &punctuation, &join}},
      {"char", {&characters}},
      {"none", {}}};
  user_check(tokenizers.contains(name),
             concat("BLEU tokenizer '", name, "' is not one of 13a, intl, zh, char, none"));
  return tokenizers.at(name);
}

// N-grams of one order, of a segment or summed over a corpus.
struct OrderTotals {
  double hypothesis = 0, reference = 0, match = 0;
};
using NgramTotals = std::vector<OrderTotals>;  // orders 1, 2, ...

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

// All lines tokenised. match: sum over hypothesis n-grams of min(count there, largest count in any
// reference); reference: n-grams of the one nearest in length, the shorter on a tie.
NgramTotals count_matches(std::string hypothesis, Lines references, size_t orders) {
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

// Sum of counts(hypothesis, its references) over a corpus.
template <class Counts>
NgramTotals sum_segments(const Lines& hypotheses, const std::vector<Lines>& references,
                         size_t orders, const Counts& counts) {
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

double smoothing_value(const BleuOptions& options) {
  return options.smooth_value.value_or(options.smooth == "floor" ? 0.1 : 1.0);
}

double chrf_score(const NgramTotals& counts) {
  constexpr double kBeta2 = 4;
  double precision = 0, recall = 0, orders = 0;  // means over the orders that both sides have
  for (const OrderTotals& order : counts) {
    if (order.hypothesis == 0 || order.reference == 0) continue;
    precision += order.match / order.hypothesis;
    recall += order.match / order.reference;
    orders += 1;
  }
  if (precision + recall == 0) return 0;
  precision /= orders;
  recall /= orders;
  return 100 * (1 + kBeta2) * precision * recall / (kBeta2 * precision + recall);
}

NgramTotals chrf_counts(const std::string& hypothesis, const Lines& references,
                        const ChrfOptions& options) {
  static const Rules characters = {{"(?s).", "$0 "}};
  // A word, a run of S, loses one ASCII punctuation mark P at its end, or else at its start: "(hi)" gives
  // "(hi" and ")".
  static const std::string S = "[^" + kSpaces + "]", P = R"([!-/:-@\[-`\{-~])";
  static const Rules words = {
      {"(?<!" + S + ")(?:(" + S + "+)(" + P + ")(?!" + S + ")|(" + P + ")(" + S + "+))",
       "$1$3 $2$4"}};
  const auto matches = [&](const std::string& reference, const Rules& rules, size_t orders) {
    return count_matches(rewrite(hypothesis, rules, options.lower_case),
                         {rewrite(reference, rules, options.lower_case)}, orders);
  };
  NgramTotals best;
  double best_score = -1;
  for (const std::string& reference : references) {  // the one with the highest score counts
    NgramTotals counts = matches(reference, characters, 6);
    for (const OrderTotals& order : matches(reference, words, options.word_order))
      counts.push_back(order);
    for (OrderTotals& order : counts)
      if (order.reference == 0) order.hypothesis = 0;
    const double score = chrf_score(counts);
    if (score > best_score) best_score = score, best = counts;
  }
  return best;
}

}  // namespace

std::string bleu_tokenize(const std::string& text, const BleuOptions& options) {
  static const Rules trim = {{"(?<![" + kSpaces + "])[" + kSpaces + R"(]+\z)", ""}};
  std::string line = rewrite(text, trim, options.lower_case);
  for (const Rules* rules : tokenizer_rules(options.tokenizer)) line = rewrite(line, *rules);
  return line;
}

BleuScore corpus_bleu(const Lines& hypotheses, const std::vector<Lines>& references,
                      const BleuOptions& options) {
  const std::string& smooth = options.smooth;
  user_check(smooth == "exp" || smooth == "floor" || smooth == "add-k" || smooth == "none",
             concat("BLEU smoothing '", smooth, "' is not one of exp, floor, add-k, none"));
  const auto count = [&](const std::string& hypothesis, Lines of_segment) {
    for (std::string& line : of_segment) line = bleu_tokenize(line, options);
    return count_matches(bleu_tokenize(hypothesis, options), of_segment, 4);
  };
  const NgramTotals counts = sum_segments(hypotheses, references, 4, count);
  BleuScore out;
  if (hypotheses.empty()) return out;
  const double c = counts[0].hypothesis, r = counts[0].reference;  // lengths
  out.hyp_len = int64_t(c);
  out.ref_len = int64_t(r);
  out.brevity_penalty = c >= r ? 1 : c > 0 ? std::exp(1 - r / c) : 0;
  for (size_t n = 0; n < 4; ++n) {
    out.match[n] = counts[n].match;
    out.total[n] = counts[n].hypothesis;
  }
  if (out.match == std::array<double, 4>{}) return out;  // before any smoothing

  const double s = smoothing_value(options);
  double halves = 1;  // exp: 1/2, 1/4, ... of one match at each order without any
  int orders = 4;
  for (int n = 0; n < 4; ++n) {
    if (smooth == "add-k" && n > 0) out.match[n] += s, out.total[n] += s;
    if (out.total[n] == 0) break;
    if (options.effective_order) orders = n + 1;
    double match = out.match[n];
    if (match == 0 && smooth == "exp") match = 1 / (halves *= 2);
    if (match == 0 && smooth == "floor") match = s;
    out.precisions[n] = 100 * match / out.total[n];
  }
  double log_sum = 0;
  for (int n = 0; n < orders; ++n)
    log_sum += out.precisions[n] == 0 ? -9999999999.0 : std::log(out.precisions[n]);
  out.score = out.brevity_penalty * std::exp(log_sum / orders);
  return out;
}

std::string BleuScore::text(const std::string& signature) const {
  const double ratio = ref_len == 0 ? 0 : double(hyp_len) / double(ref_len);
  std::string each;
  for (double precision : precisions) each += (each.empty() ? "" : "/") + fixed(precision, 1);
  return concat("BLEU", signature.empty() ? "" : "|", signature, " = ", fixed(score, 2), " ", each,
                " (BP = ", fixed(brevity_penalty, 3), " ratio = ", fixed(ratio, 3),
                " hyp_len = ", hyp_len, " ref_len = ", ref_len, ")");
}

std::string bleu_signature(const BleuOptions& options) {
  const bool valued = options.smooth == "floor" || options.smooth == "add-k";
  return concat("nrefs:1|case:", options.lower_case ? "lc" : "mixed",
                "|eff:", options.effective_order ? "yes" : "no", "|tok:", options.tokenizer,
                "|smooth:", options.smooth,
                valued ? "[" + fixed(smoothing_value(options), 2) + "]" : "",
                "|version:switchyard-" SWITCHYARD_VERSION);
}

double corpus_chrf(const Lines& hypotheses, const std::vector<Lines>& references,
                   const ChrfOptions& options) {
  const auto count = [&](const std::string& hypothesis, const Lines& of_segment) {
    return chrf_counts(hypothesis, of_segment, options);
  };
  return chrf_score(sum_segments(hypotheses, references, 6 + options.word_order, count));
}

std::string chrf_signature(const ChrfOptions& options) {
  return concat("nrefs:1|case:", options.lower_case ? "lc" : "mixed",
                "|eff:yes|nc:6|nw:", options.word_order,
                "|space:no|version:switchyard-" SWITCHYARD_VERSION);
}

std::string chrf_text(double score, const ChrfOptions& options, const std::string& signature) {
  return concat("chrF2", std::string(options.word_order, '+'), signature.empty() ? "" : "|",
                signature, " = ", fixed(score, 2));
}

}  // namespace switchyard
