// Translating a test set and scoring it: beam search over batches dealt to ranks, BLEU and chrF of a
// direction beside those of copying the source.
#pragma once
#include "apps/common/bleu.h"
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
  std::map<std::string, double> scores;  // "BLEU", "chrF2"; "copy BLEU", ...: of the source itself
  std::map<std::string, std::string> lines;  // "sacrebleu", "chrf", "bleu-pieces": with signatures
  std::map<std::string, Lines> texts;        // "src", "ref", "hyp"
};
// tokenizer: of BLEU ("13a", "zh", ...).
inline DirectionScores score_direction(const TranslationSource& source, Split split,
                                       int32_t direction, const Translations& translations,
                                       const std::string& tokenizer) {
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
  const BleuOptions bleu{.tokenizer = tokenizer}, plain{.tokenizer = "none", .smooth = "none"};
  const ChrfOptions chrf;
  const BleuScore score = corpus_bleu(hyp, references, bleu);
  s.scores = {{"BLEU", score.score},
              {"chrF2", corpus_chrf(hyp, references, chrf)},
              {"copy BLEU", corpus_bleu(src, references, bleu).score},
              {"copy chrF2", corpus_chrf(src, references, chrf)}};
  s.lines = {{"sacrebleu", score.text(bleu_signature(bleu))},
             {"chrf", chrf_text(s.scores["chrF2"], chrf, chrf_signature(chrf))},
             {"bleu-pieces", "piece " + corpus_bleu(pieces, piece_references, plain).text()}};
  return s;
}

}  // namespace switchyard
