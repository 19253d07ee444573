// Translating a test set and scoring it: beam search over batches dealt to ranks, BLEU and chrF of a
// direction beside those of copying the source.
#pragma once
#include "apps/common/scoring.h"
#include "apps/common/translation_task.h"
#include "nn/generate.h"

namespace switchyard {

// Sentence of the split -> pieces of its best translation, without language token and </s>.
using Translations = std::map<int64_t, std::vector<int32_t>>;

// Of all ranks' batches; complete on every rank. Collective.
inline Translations translate_batches(Transformer& model, const TranslationSource& source,
                                      const EvalBatches& batches, const GenerateOptions& options,
                                      const dist::Comm& world) {
  Translations mine, all;
  for (int64_t i = 0; i < batches.size(); ++i) {
    const TranslationBatch batch = batches[i];
    std::vector<int64_t> first;
    for (int32_t d : batch.direction)
      first.push_back(source.tokenizer().language_token(source.directions()[size_t(d)].target));
    ForwardContext ctx;
    ctx.rank = world.rank();
    ctx.micro_batch = i;
    const auto found = generate(model, batch.source, first, options, ctx, [&](bool active) {
      return world.all_reduce(active, dist::Reduce::Max) > 0;
    });
    for (size_t b = 0; b < found.size(); ++b) {
      const std::vector<int64_t>& tokens = found[b].front().tokens;
      mine[batch.ids[b]].assign(tokens.begin() + 1, tokens.end() - 1);
    }
  }
  for (const std::string& text : world.all_gather_bytes(nlohmann::json(mine).dump()))
    all.merge(nlohmann::json::parse(text).get<Translations>());
  return all;
}

// Ids as words, for BLEU over pieces (specs/hmoe.md 4.5): the leading language token, the same in both, counts;
// <unk> of a reference matches nothing.
inline std::string piece_line(std::span<const int32_t> pieces, bool reference) {
  std::string line = "<language> ";
  for (int32_t id : pieces) line += (reference && id == kUnk ? "<unk>" : std::to_string(id)) + " ";
  return line;
}

struct DirectionScores {
  // "BLEU", "chrF2", "chrF2++", "piece BLEU", and "copy BLEU", ...: of the source itself; in this order
  std::vector<std::pair<std::string, double>> scores;
  std::map<std::string, std::string>
      lines;  // "sacrebleu", "chrf", "chrf++", "bleu-pieces": with signatures
  std::map<std::string, std::string> signatures;  // of BLEU, chrF2, chrF2++
  std::map<std::string, Lines> texts;             // "src", "ref", "hyp"
};
inline DirectionScores score_direction(const TranslationSource& source, Split split,
                                       int32_t direction, const Translations& translations,
                                       const ScoringOptions& options) {
  DirectionScores s;
  auto &hyp = s.texts["hyp"], &ref = s.texts["ref"], &src = s.texts["src"];
  Lines pieces;
  std::vector<Lines> references, piece_references;
  const Sentences& from = source.source(split, direction);
  const Sentences& to = source.target(split, direction);
  for (const auto& [id, translation] : translations) {
    hyp.push_back(source.tokenizer().decode(translation));
    ref.push_back(to.text[size_t(id)]);
    src.push_back(from.text[size_t(id)]);
    references.push_back({ref.back()});
    pieces.push_back(piece_line(translation, false));
    piece_references.push_back({piece_line(to[id], true)});
  }
  for (const std::string& metric : kMetrics) {
    const MetricScore score = score_lines(metric, hyp, references, options);
    s.scores.emplace_back(score.name, score.value);
    s.signatures[score.name] = score.signature;
    s.lines[metric == "bleu" ? "sacrebleu" : metric] = score.text;
  }
  const BleuOptions plain{.tokenizer = "none", .smooth = "none"};
  const BleuScore of_pieces = corpus_bleu(pieces, piece_references, plain);
  s.scores.emplace_back("piece BLEU", of_pieces.score);
  s.lines["bleu-pieces"] = "piece " + of_pieces.text("", options.width);
  for (const std::string metric : {"bleu", "chrf"}) {
    const MetricScore copied = score_lines(metric, src, references, options);
    s.scores.emplace_back("copy " + copied.name, copied.value);
  }
  return s;
}

}  // namespace switchyard
