#include "apps/common/chrf.h"

#include <iomanip>

#include "apps/common/score_text.h"
#include "tensor/check.h"

namespace switchyard {
namespace {

bool is_ascii_punctuation(char32_t c) {
  return (c >= 0x21 && c <= 0x2F) || (c >= 0x3A && c <= 0x40) || (c >= 0x5B && c <= 0x60) ||
         (c >= 0x7B && c <= 0x7E);
}

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

// The counted n-grams of one text, all orders.
std::vector<NgramCounts> ngrams_of(const std::string& text, const ChrfOptions& options,
                                   WordNumbers& numbers) {
  Symbols line = decode_utf8(text);
  if (options.lower_case) line = lower_case(line);
  Symbols characters = line;
  if (!options.keep_white_space) std::erase_if(characters, is_white_space);
  std::vector<NgramCounts> orders;
  for (int n = 1; n <= options.char_order; ++n) orders.push_back(count_ngrams(characters, n));
  if (options.word_order == 0) return orders;
  const Symbols words = numbers(chrf_words(line));
  for (int n = 1; n <= options.word_order; ++n) orders.push_back(count_ngrams(words, n));
  return orders;
}

int64_t total(const NgramCounts& counts) {
  int64_t sum = 0;
  for (const auto& [ngram, count] : counts) sum += count;
  return sum;
}

// F = (1 + beta^2) P R / (beta^2 P + R)
double f_score(double precision, double recall, double beta, double if_undefined) {
  const double denominator = beta * beta * precision + recall;
  return denominator > 0 ? (1 + beta * beta) * precision * recall / denominator : if_undefined;
}

std::string name_of(const ChrfOptions& options) {
  return concat("chrF", options.beta, std::string(static_cast<size_t>(options.word_order), '+'));
}

}  // namespace

ChrfCounts chrf_counts(const std::string& hypothesis, const References& references,
                       const ChrfOptions& options) {
  check(!references.empty(), "chrF of a segment without a reference");
  WordNumbers numbers;
  const std::vector<NgramCounts> hyp = ngrams_of(hypothesis, options, numbers);
  ChrfCounts best;
  double best_score = -1;
  for (const std::string& reference : references) {  // the one with the highest score counts
    const std::vector<NgramCounts> ref = ngrams_of(reference, options, numbers);
    ChrfCounts counts(hyp.size());
    for (size_t i = 0; i < hyp.size(); ++i)
      counts[i] = {ref[i].empty() ? 0 : total(hyp[i]), total(ref[i]),
                   clipped_matches(hyp[i], ref[i])};
    const double score = chrf_score(counts, options);
    if (score > best_score) best_score = score, best = counts;
  }
  return best;
}

double chrf_score(const ChrfCounts& counts, const ChrfOptions& options) {
  constexpr double kEpsilon = 1e-16;
  double precisions = 0, recalls = 0, orders = 0, f_sum = 0;
  for (const ChrfOrder& order : counts) {
    const auto h = static_cast<double>(order.hypothesis), r = static_cast<double>(order.reference);
    const auto m = static_cast<double>(order.match);
    const double precision = h > 0 ? m / h : kEpsilon, recall = r > 0 ? m / r : kEpsilon;
    f_sum += f_score(precision, recall, options.beta, kEpsilon);
    if (h > 0 && r > 0) precisions += precision, recalls += recall, orders += 1;
  }
  if (options.epsilon) return 100 * f_sum / static_cast<double>(counts.size());
  if (orders == 0) return 0;
  return 100 * f_score(precisions / orders, recalls / orders, options.beta, 0);
}

double corpus_chrf(const std::vector<std::string>& hypotheses,
                   const std::vector<References>& references, const ChrfOptions& options) {
  user_check(
      hypotheses.size() == references.size(),
      concat("chrF: ", hypotheses.size(), " hypotheses, but ", references.size(), " references"));
  ChrfCounts sum(static_cast<size_t>(options.char_order + options.word_order));
  for (size_t i = 0; i < hypotheses.size(); ++i) {
    const ChrfCounts segment = chrf_counts(hypotheses[i], references[i], options);
    for (size_t n = 0; n < sum.size(); ++n) {
      sum[n].hypothesis += segment[n].hypothesis;
      sum[n].reference += segment[n].reference;
      sum[n].match += segment[n].match;
    }
  }
  return chrf_score(sum, options);
}

std::string chrf_signature(const ChrfOptions& options, int nrefs, const SignatureFields& extra,
                           bool short_names) {
  return signature_text(nrefs, extra,
                        {{"case", options.lower_case ? "lc" : "mixed"},
                         {"eff", options.epsilon ? "no" : "yes"},
                         {"nc", std::to_string(options.char_order)},
                         {"nw", std::to_string(options.word_order)},
                         {"space", options.keep_white_space ? "yes" : "no"}},
                        short_names);
}

std::string chrf_text(double score, const ChrfOptions& options, const std::string& signature,
                      int width) {
  std::ostringstream out;
  out << name_of(options) << (signature.empty() ? "" : "|" + signature) << " = " << std::fixed
      << std::setprecision(width) << score;
  return out.str();
}

}  // namespace switchyard
