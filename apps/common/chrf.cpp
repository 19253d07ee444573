#include "apps/common/chrf.h"

#include "apps/common/text_table.h"

namespace switchyard {
namespace {

constexpr double kBeta2 = 4;

double f_score(double precision, double recall, double otherwise) {
  const double below = kBeta2 * precision + recall;
  return below > 0 ? (1 + kBeta2) * precision * recall / below : otherwise;
}

double score_of(const NgramTotals& counts, bool epsilon_smoothing) {
  constexpr double kEpsilon = 1e-16;
  double precision = 0, recall = 0, orders = 0;  // means over the orders that both sides have
  double f_sum = 0;
  for (const OrderTotals& order : counts) {
    const double p = order.hypothesis > 0 ? order.match / order.hypothesis : kEpsilon;
    const double r = order.reference > 0 ? order.match / order.reference : kEpsilon;
    f_sum += f_score(p, r, kEpsilon);
    if (order.hypothesis == 0 || order.reference == 0) continue;
    precision += p;
    recall += r;
    orders += 1;
  }
  if (epsilon_smoothing) return 100 * f_sum / double(counts.size());
  return orders == 0 ? 0 : 100 * f_score(precision / orders, recall / orders, 0);
}

NgramTotals segment_counts(const std::string& hypothesis, const Lines& references,
                           const ChrfOptions& options) {
  static const Rules no_spaces = {{"[" + kSpaces + "]+", ""}}, all = {};
  // A word, a run of S, loses one ASCII punctuation mark P at its end, or else at its start: "(hi)" gives
  // "(hi" and ")".
  static const std::string S = "[^" + kSpaces + "]", P = R"([!-/:-@\[-`\{-~])";
  static const Rules words = {
      {"(?<!" + S + ")(?:(" + S + "+)(" + P + ")(?!" + S + ")|(" + P + ")(" + S + "+))",
       "$1$3 $2$4"}};
  const auto matches = [&](const std::string& reference, const Rules& rules, size_t orders,
                           Unit unit) {
    return count_matches({rewrite(hypothesis, rules, options.lower_case),
                          rewrite(reference, rules, options.lower_case)},
                         orders, unit);
  };
  NgramTotals best;
  double best_score = -1;
  for (const std::string& reference : references) {
    NgramTotals counts =
        matches(reference, options.keep_white_space ? all : no_spaces, 6, Unit::CodePoint);
    for (const OrderTotals& order : matches(reference, words, options.word_order, Unit::Word))
      counts.push_back(order);
    for (OrderTotals& order : counts)
      if (order.reference == 0) order.hypothesis = 0;
    const double score = score_of(counts, options.epsilon_smoothing);
    if (score > best_score) best_score = score, best = counts;
  }
  return best;
}

}  // namespace

double corpus_chrf(const Lines& hypotheses, const std::vector<Lines>& references,
                   const ChrfOptions& options) {
  const auto count = [&](const std::string& hypothesis, const Lines& of_segment) {
    return segment_counts(hypothesis, of_segment, options);
  };
  return score_of(sum_segments(hypotheses, references, 6 + options.word_order, count),
                  options.epsilon_smoothing);
}

std::string chrf_signature(const ChrfOptions& options, const std::string& references,
                           bool short_names) {
  return signature(references,
                   {{"case", "c", options.lower_case ? "lc" : "mixed"},
                    {"eff", "e", options.epsilon_smoothing ? "no" : "yes"},
                    {"nc", "nc", "6"},
                    {"nw", "nw", std::to_string(options.word_order)},
                    {"space", "s", options.keep_white_space ? "yes" : "no"}},
                   short_names);
}

std::string chrf_name(const ChrfOptions& options) {
  return "chrF2" + std::string(options.word_order, '+');
}

std::string chrf_text(double score, const ChrfOptions& options, const std::string& signature,
                      int width) {
  return concat(chrf_name(options), signature.empty() ? "" : "|", signature, " = ",
                fixed(score, width));
}

}  // namespace switchyard
