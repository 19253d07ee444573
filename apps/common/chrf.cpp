#include "apps/common/chrf.h"

#include "apps/common/version.h"

namespace switchyard {
namespace {

// One cut per piece: "(hi)" gives "(hi" and ")".
std::vector<Symbols> chrf_words(const Symbols& line) {
  std::vector<Symbols> words;
  for (const Symbols& piece : split_white_space(line)) {
    size_t cut = 0;
    if (piece.size() > 1 && is_ascii_punctuation(piece.back())) cut = piece.size() - 1;
    else if (piece.size() > 1 && is_ascii_punctuation(piece.front())) cut = 1;
    if (cut > 0) words.push_back(piece.substr(0, cut));
    words.push_back(piece.substr(cut));
  }
  return words;
}

NgramTotals chrf_counts(const std::string& hypothesis, const References& references,
                        const ChrfOptions& options) {
  check(!references.empty(), "chrF of a segment without a reference");
  WordNumbers numbers;
  const auto characters_and_words = [&](const std::string& text) {
    Symbols line = decode_utf8(text), characters;
    if (options.lower_case) line = lower_case(line);
    for (const Symbols& piece : split_white_space(line)) characters += piece;
    return std::pair{characters, number_words(chrf_words(line), numbers)};
  };
  const auto hyp = characters_and_words(hypothesis);
  NgramTotals best;
  double best_score = -1;
  for (const std::string& reference : references) {  // the one with the highest score counts
    const auto ref = characters_and_words(reference);
    NgramTotals counts = count_matches(hyp.first, {ref.first}, 6);
    const NgramTotals of_words = count_matches(hyp.second, {ref.second}, options.word_order);
    counts.insert(counts.end(), of_words.begin(), of_words.end());
    for (OrderTotals& order : counts)
      if (order.reference == 0) order.hypothesis = 0;
    const double score = chrf_score(counts);
    if (score > best_score) best_score = score, best = counts;
  }
  return best;
}

}  // namespace

double chrf_score(const NgramTotals& counts) {
  constexpr double kBeta2 = 4;
  double precision = 0, recall = 0, orders = 0;  // means over the orders that both sides have
  for (const OrderTotals& order : counts) {
    if (order.hypothesis == 0 || order.reference == 0) continue;
    precision += static_cast<double>(order.match) / static_cast<double>(order.hypothesis);
    recall += static_cast<double>(order.match) / static_cast<double>(order.reference);
    orders += 1;
  }
  if (precision + recall == 0) return 0;
  precision /= orders, recall /= orders;
  return 100 * (1 + kBeta2) * precision * recall / (kBeta2 * precision + recall);
}

double corpus_chrf(const std::vector<std::string>& hypotheses,
                   const std::vector<References>& references, const ChrfOptions& options) {
  const auto counts = [&](const std::string& hypothesis, const References& of_segment) {
    return chrf_counts(hypothesis, of_segment, options);
  };
  return chrf_score(sum_segments(hypotheses, references, counts));
}

std::string chrf_signature(const ChrfOptions& options) {
  return concat("nrefs:1|case:", options.lower_case ? "lc" : "mixed",
                "|eff:yes|nc:6|nw:", options.word_order, "|space:no|version:switchyard-",
                project_version());
}

std::string chrf_text(double score, const ChrfOptions& options, const std::string& signature) {
  return concat("chrF2", std::string(options.word_order, '+'), signature.empty() ? "" : "|",
                signature, " = ", fixed(score, 2));
}

}  // namespace switchyard
