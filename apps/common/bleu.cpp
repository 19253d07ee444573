// Counts, scores and signatures of BLEU (specs/bleu.md 4 to 6).
#include "apps/common/bleu.h"

#include <algorithm>
#include <cmath>
#include <iomanip>

#include "apps/common/score_text.h"
#include "apps/common/version.h"
#include "tensor/check.h"

namespace switchyard {
namespace {

BleuCounts counts_of(const Symbols& hypothesis, const std::vector<Symbols>& references) {
  check(!references.empty(), "BLEU of a segment without a reference");
  BleuCounts counts;
  counts.hyp_len = static_cast<int64_t>(hypothesis.size());
  for (size_t n = 1; n <= 4; ++n) {
    NgramCounts most;  // per n-gram: its largest count in any reference
    for (const Symbols& reference : references)
      for (const auto& [ngram, count] : count_ngrams(reference, n))
        most[ngram] = std::max(most[ngram], count);
    counts.match[n - 1] = clipped_matches(count_ngrams(hypothesis, n), most);
    counts.total[n - 1] = ngrams_in(hypothesis.size(), n);
  }
  std::pair<int64_t, int64_t> nearest{INT64_MAX,
                                      0};  // (distance, length): the shorter one on a tie
  for (const Symbols& reference : references) {
    const auto length = static_cast<int64_t>(reference.size());
    nearest = std::min(nearest, {std::abs(length - counts.hyp_len), length});
  }
  counts.ref_len = nearest.second;
  return counts;
}

std::string fixed(double value, int digits) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << value;
  return out.str();
}

double smoothing_value(const BleuOptions& options) {
  return options.smooth_value.value_or(options.smooth == "floor" ? 0.1 : 1.0);
}

void check_smoothing(const std::string& smooth) {
  user_check(smooth == "exp" || smooth == "floor" || smooth == "add-k" || smooth == "none",
             concat("BLEU smoothing '", smooth, "' is not one of exp, floor, add-k, none"));
}

}  // namespace

BleuCounts& BleuCounts::operator+=(const BleuCounts& other) {
  for (size_t n = 0; n < 4; ++n) match[n] += other.match[n], total[n] += other.total[n];
  hyp_len += other.hyp_len, ref_len += other.ref_len;
  return *this;
}

BleuCounts bleu_counts(const std::string& hypothesis, const References& references,
                       const BleuOptions& options) {
  WordNumbers numbers;
  const auto tokens = [&](const std::string& line) {
    return numbers(split_white_space(decode_utf8(bleu_tokenize(line, options))));
  };
  std::vector<Symbols> reference_tokens;
  for (const std::string& reference : references) reference_tokens.push_back(tokens(reference));
  return counts_of(tokens(hypothesis), reference_tokens);
}

BleuCounts piece_bleu_counts(std::span<const int32_t> hypothesis,
                             std::span<const int32_t> reference, int32_t pad, int32_t eos,
                             int32_t unk) {
  constexpr char32_t kNoMatch = 0xFFFFFFFF;
  const auto symbols = [&](std::span<const int32_t> ids, bool is_reference) {
    while (!ids.empty() && ids.front() == pad) ids = ids.subspan(1);
    while (!ids.empty() && (ids.back() == pad || ids.back() == eos))
      ids = ids.first(ids.size() - 1);
    Symbols out(ids.begin(), ids.end());
    if (is_reference) std::replace(out.begin(), out.end(), static_cast<char32_t>(unk), kNoMatch);
    return out;
  };
  return counts_of(symbols(hypothesis, false), {symbols(reference, true)});
}

BleuScore bleu_score(const BleuCounts& counts, const BleuOptions& options) {
  check_smoothing(options.smooth);
  BleuScore out;
  out.hyp_len = counts.hyp_len, out.ref_len = counts.ref_len;
  std::copy(counts.match.begin(), counts.match.end(), out.match.begin());
  std::copy(counts.total.begin(), counts.total.end(), out.total.begin());
  const auto c = static_cast<double>(counts.hyp_len), r = static_cast<double>(counts.ref_len);
  out.brevity_penalty = c >= r ? 1 : c > 0 ? std::exp(1 - r / c) : 0;
  const int64_t matches = counts.match[0] + counts.match[1] + counts.match[2] + counts.match[3];
  if (matches == 0) return out;  // before any smoothing

  const double s = smoothing_value(options);
  double halves = 1;  // exp: 1/2, 1/4, ... of one match at each order without any
  int orders = 4;
  for (int n = 0; n < 4; ++n) {
    if (options.smooth == "add-k" && n > 0) out.match[n] += s, out.total[n] += s;
    if (out.total[n] == 0) break;
    if (options.effective_order) orders = n + 1;
    double match = out.match[n];
    if (match == 0 && options.smooth == "exp") match = 1 / (halves *= 2);
    if (match == 0 && options.smooth == "floor") match = s;
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
  user_check(
      hypotheses.size() == references.size(),
      concat("BLEU: ", hypotheses.size(), " hypotheses, but ", references.size(), " references"));
  BleuCounts sum;
  for (size_t i = 0; i < hypotheses.size(); ++i)
    sum += bleu_counts(hypotheses[i], references[i], options);
  return bleu_score(sum, options);
}

std::string BleuScore::text(const std::string& signature, int width) const {
  std::string out =
      "BLEU" + (signature.empty() ? "" : "|" + signature) + " = " + fixed(score, width) + " ";
  for (size_t n = 0; n < 4; ++n) out += (n == 0 ? "" : "/") + fixed(precisions[n], 1);
  const double ratio =
      ref_len == 0 ? 0 : static_cast<double>(hyp_len) / static_cast<double>(ref_len);
  return out + concat(" (BP = ", fixed(brevity_penalty, 3), " ratio = ", fixed(ratio, 3),
                      " hyp_len = ", hyp_len, " ref_len = ", ref_len, ")");
}

std::string signature_text(int nrefs, const SignatureFields& extra,
                           const std::vector<std::pair<std::string, std::string>>& own,
                           bool short_names) {
  static const std::map<std::string, std::string> shorter = {
      {"nrefs", "#"}, {"test", "t"},    {"lang", "l"}, {"origlang", "o"}, {"subset", "S"},
      {"seed", "rs"}, {"version", "v"}, {"case", "c"}, {"eff", "e"},      {"smooth", "s"}};
  std::string out;
  const auto field = [&](const std::string& name, const std::string& value) {
    const auto brief = shorter.find(name);
    const bool use = short_names && brief != shorter.end();
    out += (out.empty() ? "" : "|") + (use ? brief->second : name) + ":" + value;
  };
  field("nrefs", nrefs == 0 ? "var" : std::to_string(nrefs));
  size_t known = 0;
  for (const char* name : {"bs", "seed", "test", "lang", "origlang", "subset"})
    if (const auto found = extra.find(name); found != extra.end())
      field(name, found->second), ++known;
  check(known == extra.size(), "a signature has a field of an unknown name");
  for (const auto& [name, value] : own) field(name, value);
  field("version", "switchyard-" + project_version());
  return out;
}

std::string bleu_signature(const BleuOptions& options, int nrefs, const SignatureFields& extra,
                           bool short_names) {
  check_smoothing(options.smooth);
  std::string smooth = options.smooth;
  if (smooth == "floor" || smooth == "add-k")
    smooth += "[" + fixed(smoothing_value(options), 2) + "]";
  return signature_text(nrefs, extra,
                        {{"case", options.lower_case ? "lc" : "mixed"},
                         {"eff", options.effective_order ? "yes" : "no"},
                         {"tok", options.tokenizer},
                         {"smooth", smooth}},
                        short_names);
}

int common_reference_count(const std::vector<References>& references) {
  if (references.empty()) return 1;
  for (const References& each : references)
    if (each.size() != references[0].size()) return 0;
  return static_cast<int>(references[0].size());
}

bool looks_tokenized(const std::vector<std::string>& hypotheses) {
  return std::count_if(hypotheses.begin(), hypotheses.end(),
                       [](const std::string& line) { return line.ends_with(" ."); }) >= 100;
}

}  // namespace switchyard
