// Counts, scores and signatures of BLEU (specs/bleu.md 4 to 6).
#include "apps/common/bleu.h"

#include <algorithm>
#include <cmath>

#include "apps/common/version.h"

namespace switchyard {
namespace {

double smoothing_value(const BleuOptions& options) {
  return options.smooth_value.value_or(options.smooth == "floor" ? 0.1 : 1.0);
}

}  // namespace

NgramTotals bleu_counts(const std::string& hypothesis, const References& references,
                        const BleuOptions& options) {
  WordNumbers numbers;
  const auto tokens = [&](const std::string& line) {
    return number_words(split_white_space(decode_utf8(bleu_tokenize(line, options))), numbers);
  };
  std::vector<Symbols> reference_tokens;
  for (const std::string& reference : references) reference_tokens.push_back(tokens(reference));
  return count_matches(tokens(hypothesis), reference_tokens, 4);
}

NgramTotals piece_bleu_counts(std::span<const int32_t> hypothesis,
                              std::span<const int32_t> reference, int32_t pad, int32_t eos,
                              int32_t unk) {
  const auto symbols = [&](std::span<const int32_t> ids) {
    while (!ids.empty() && ids.front() == pad) ids = ids.subspan(1);
    while (!ids.empty() && (ids.back() == pad || ids.back() == eos))
      ids = ids.first(ids.size() - 1);
    return Symbols(ids.begin(), ids.end());
  };
  Symbols expected = symbols(reference);
  constexpr char32_t kNoMatch = 0xFFFFFFFF;
  std::replace(expected.begin(), expected.end(), static_cast<char32_t>(unk), kNoMatch);
  return count_matches(symbols(hypothesis), {expected}, 4);
}

BleuScore bleu_score(const NgramTotals& counts, const BleuOptions& options) {
  const std::string& smooth = options.smooth;
  user_check(smooth == "exp" || smooth == "floor" || smooth == "add-k" || smooth == "none",
             concat("BLEU smoothing '", smooth, "' is not one of exp, floor, add-k, none"));
  BleuScore out;
  if (counts.empty()) return out;
  out.hyp_len = counts[0].hypothesis, out.ref_len = counts[0].reference;
  const auto c = static_cast<double>(out.hyp_len), r = static_cast<double>(out.ref_len);
  out.brevity_penalty = c >= r ? 1 : c > 0 ? std::exp(1 - r / c) : 0;
  for (size_t n = 0; n < 4; ++n) {
    out.match[n] = static_cast<double>(counts[n].match);
    out.total[n] = static_cast<double>(counts[n].hypothesis);
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

BleuScore corpus_bleu(const std::vector<std::string>& hypotheses,
                      const std::vector<References>& references, const BleuOptions& options) {
  const auto counts = [&](const std::string& hypothesis, const References& of_segment) {
    return bleu_counts(hypothesis, of_segment, options);
  };
  return bleu_score(sum_segments(hypotheses, references, counts), options);
}

std::string BleuScore::text(const std::string& signature) const {
  const double ratio =
      ref_len == 0 ? 0 : static_cast<double>(hyp_len) / static_cast<double>(ref_len);
  return concat("BLEU", signature.empty() ? "" : "|", signature, " = ", fixed(score, 2), " ",
                fixed(precisions[0], 1), "/", fixed(precisions[1], 1), "/", fixed(precisions[2], 1),
                "/", fixed(precisions[3], 1), " (BP = ", fixed(brevity_penalty, 3),
                " ratio = ", fixed(ratio, 3), " hyp_len = ", hyp_len, " ref_len = ", ref_len, ")");
}

std::string bleu_signature(const BleuOptions& options) {
  const bool valued = options.smooth == "floor" || options.smooth == "add-k";
  return concat("nrefs:1|case:", options.lower_case ? "lc" : "mixed",
                "|eff:", options.effective_order ? "yes" : "no", "|tok:", options.tokenizer,
                "|smooth:", options.smooth,
                valued ? concat("[", fixed(smoothing_value(options), 2), "]") : "",
                "|version:switchyard-", project_version());
}

}  // namespace switchyard
