// Scores of a system's output as apps/score and apps/eval_hmoe report them: options with sacreBLEU's names,
// files of lines, a metric's value with its signature line.
#pragma once
#include "apps/common/bleu.h"
#include "apps/common/chrf.h"

namespace switchyard {

struct ScoringOptions {
  std::string tokenize = "13a", spm_model, smooth_method = "exp";
  std::optional<double> smooth_value;
  bool lowercase = false, chrf_lowercase = false, chrf_whitespace = false;
  bool chrf_eps_smoothing = false, short_signature = false, force = false;
  int width = 2;

  template <class V>
  void visit(V&& v) {
    v.group("Scoring");
    v(tokenize, "tokenize,sacrebleu-tokenizer",
      "tokeniser of BLEU: 13a, intl, zh, char, none, or spm-NAME = pieces of --spm-model");
    v(spm_model, "spm-model", "SentencePiece model file of --tokenize spm-NAME");
    v(smooth_method, "smooth-method,smooth", "BLEU's precision of an order without matches",
      {"exp", "floor", "add-k", "none"});
    v(smooth_value, "smooth-value", "of floor (none = 0.1) and add-k (none = 1)");
    v(lowercase, "lowercase", "BLEU without case");
    v(chrf_lowercase, "chrf-lowercase", "chrF without case");
    v(chrf_whitespace, "chrf-whitespace", "chrF's character n-grams keep white space");
    v(chrf_eps_smoothing, "chrf-eps-smoothing", "chrF as chrF++.py, NLTK and Moses smooth it");
    v(width, "width", "decimals of scores");
    v(short_signature, "short", "short signatures");
    v(force, "force", "no warning about output that looks tokenised");
  }

  // UserError about any of them; the SentencePiece model is read here.
  void prepare();
  BleuOptions bleu(bool sentence = false) const;  // of sentences: with effective order
  ChrfOptions chrf(size_t word_order) const;

 private:
  std::function<std::string(const std::string&)> pieces_;
};

struct MetricScore {
  std::string name;  // "BLEU", "chrF2", "chrF2++"
  double value = 0;
  std::string signature, text;  // text: the result line with the signature
};

inline const std::vector<std::string> kMetrics = {"bleu", "chrf", "chrf++"};
// metric: one of kMetrics. sentence: the lines are one segment.
MetricScore score_lines(const std::string& metric, const Lines& hypotheses,
                        const std::vector<Lines>& references, const ScoringOptions& options,
                        bool sentence = false);

// "" or a warning: 100 lines or more end in " ." (specs/bleu.md 6).
std::string tokenised_warning(const Lines& hypotheses);

// Lines of a text file (plain, .gz, .zst, .xz, .bz2), cut at \n only; empty lines count. UserErrors name file and
// line: missing, empty, invalid UTF-8, a NUL byte.
Lines read_lines(const std::string& path);

}  // namespace switchyard
