#include "apps/common/scoring.h"

#include "data/text_files.h"

namespace switchyard {

void ScoringOptions::prepare() {
  const bool pieces = tokenize.starts_with("spm-");
  user_check(!pieces || !spm_model.empty(),
             concat("--tokenize ", tokenize, " needs --spm-model FILE, a SentencePiece model"));
  user_check(pieces || spm_model.empty(),
             concat("--spm-model is for --tokenize spm-NAME, not ", tokenize));
  if (pieces) pieces_ = sentencepiece_pieces(spm_model);
  validate(bleu());
  user_check(!smooth_value || smooth_method == "floor" || smooth_method == "add-k",
             "--smooth-value is for --smooth-method floor and add-k, not " + smooth_method);
  user_check(!smooth_value || *smooth_value >= 0,
             concat("--smooth-value is ", smooth_value.value_or(0), ", must be at least 0"));
  user_check(width >= 0 && width <= 15, concat("--width is ", width, ", must be in 0..15"));
}

BleuOptions ScoringOptions::bleu(bool sentence) const {
  return {tokenize, lowercase, smooth_method, smooth_value, sentence, pieces_};
}

ChrfOptions ScoringOptions::chrf(size_t word_order) const {
  return {word_order, chrf_lowercase, chrf_whitespace, chrf_eps_smoothing};
}

MetricScore score_lines(const std::string& metric, const Lines& hypotheses,
                        const std::vector<Lines>& references, const ScoringOptions& options,
                        bool sentence) {
  MetricScore out;
  const std::string nrefs = count_references(references);
  if (metric == "bleu") {
    const BleuOptions bleu = options.bleu(sentence);
    const BleuScore score = corpus_bleu(hypotheses, references, bleu);
    out = {"BLEU", score.score, bleu_signature(bleu, nrefs, options.short_signature), ""};
    out.text = score.text(out.signature, options.width);
  } else {
    const ChrfOptions chrf = options.chrf(metric == "chrf++" ? 2 : 0);
    out = {chrf_name(chrf), corpus_chrf(hypotheses, references, chrf),
           chrf_signature(chrf, nrefs, options.short_signature), ""};
    out.text = chrf_text(out.value, chrf, out.signature, options.width);
  }
  return out;
}

std::string tokenised_warning(const Lines& hypotheses) {
  const auto count =
      std::ranges::count_if(hypotheses, [](const auto& line) { return line.ends_with(" ."); });
  if (count < 100) return "";
  return concat("warning: ", count, " lines end in a tokenised full stop (' .'): scores are for ",
                "detokenised text; --force silences this");
}

Lines read_lines(const std::string& path) {
  const std::string text = read_file(path);
  user_check(!text.empty(), path + " is empty: expected one sentence on each line");
  Lines lines;
  for (const std::string_view line : split_at(text, '\n')) {
    lines.emplace_back(line);
    const char* fault = line.find('\0') != line.npos ? " holds a NUL byte"
                        : valid_utf8(line)           ? nullptr
                                                     : " is not valid UTF-8";
    user_check(!fault, concat(path, ": line ", lines.size(), fault ? fault : ""));
  }
  return lines;
}

}  // namespace switchyard
