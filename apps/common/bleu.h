// BLEU as sacreBLEU 2.6.0 computes it (specs/bleu.md): prepare, tokenise, count n-grams of 1..4 tokens,
// BLEU = BP * exp(mean of ln precisions). Also BLEU over token ids (specs/hmoe.md 4.5).
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace switchyard {

struct BleuOptions {
  std::string tokenizer = "13a";  // 13a, intl, zh, char, none; or spm-<name> with `pieces`
  bool lower_case = false;
  std::string smooth = "exp";          // exp, floor, add-k, none
  std::optional<double> smooth_value;  // floor 0.1, add-k 1
  bool effective_order = false;        // the usual choice for single sentences
  std::function<std::vector<std::string>(const std::string&)> pieces;
};

struct BleuCounts {
  std::array<int64_t, 4> match{}, total{};
  int64_t hyp_len = 0, ref_len = 0;
  BleuCounts& operator+=(const BleuCounts& other);
};

struct BleuScore {
  double score = 0, brevity_penalty = 0;
  std::array<double, 4> precisions{}, match{}, total{};  // add-k is included in match and total
  int64_t hyp_len = 0, ref_len = 0;
  // "BLEU = 27.31 70.0/44.4/20.0/7.1 (BP = 1.000 ...)"; with a signature "BLEU|<signature> = ..."
  std::string text(const std::string& signature = "", int width = 2) const;
};

using References =
    std::vector<std::string>;  // of one segment; their number may differ between segments

// The line after the tokeniser, before it is split into tokens.
std::string bleu_tokenize(const std::string& line, const BleuOptions& options);
BleuCounts bleu_counts(const std::string& hypothesis, const References& references,
                       const BleuOptions& options);
BleuScore bleu_score(const BleuCounts& counts, const BleuOptions& options);
BleuScore corpus_bleu(const std::vector<std::string>& hypotheses,
                      const std::vector<References>& references, const BleuOptions& options);

// Ids as in hmoe.md 4.5: end tokens and padding are trimmed at the ends, <unk> never matches. Score with
// smooth = "none".
BleuCounts piece_bleu_counts(std::span<const int32_t> hypothesis,
                             std::span<const int32_t> reference, int32_t pad, int32_t eos,
                             int32_t unk);

// "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:switchyard-0.1". nrefs 0 = their number varies.
// extra: any of bs, seed, test, lang, origlang, subset. short_names: "#:1|c:mixed|...".
using SignatureFields = std::map<std::string, std::string>;
std::string bleu_signature(const BleuOptions& options, int nrefs, const SignatureFields& extra = {},
                           bool short_names = false);
// The common frame of BLEU's and chrF's signatures: nrefs, the extra fields, `own`, version.
std::string signature_text(int nrefs, const SignatureFields& extra,
                           const std::vector<std::pair<std::string, std::string>>& own,
                           bool short_names);

int common_reference_count(const std::vector<References>& references);  // 0 = varies
// 100 or more hypotheses that end in " ." look tokenised: worth a warning, no effect on the score.
bool looks_tokenized(const std::vector<std::string>& hypotheses);

}  // namespace switchyard
