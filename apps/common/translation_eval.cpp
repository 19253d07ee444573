#include "apps/common/translation_eval.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/common/bleu.h"
#include "apps/common/chrf.h"

namespace switchyard {

std::vector<Translation> translate_batches(Transformer& model, const TranslationSource& source,
                                           const EvalBatches& batches,
                                           const GenerateOptions& options,
                                           const dist::Comm& world) {
  nlohmann::json mine = nlohmann::json::array();
  for (int64_t i = 0; i < batches.size(); ++i) {
    const TranslationBatch batch = batches[i];
    std::vector<int64_t> first;
    for (int32_t d : batch.direction)
      first.push_back(source.tokenizer().language_token(source.directions()[size_t(d)].target));
    ForwardContext ctx;
    ctx.rank = world.rank();
    ctx.micro_batch = i;
    const auto found = generate(model, batch.source, first, options, ctx,
                                [&](bool active) { return world.max(active) > 0; });
    for (size_t b = 0; b < found.size(); ++b) {
      const Hypothesis& h = found[b].front();
      mine.push_back(
          {batch.ids[b], h.score, std::vector<int64_t>(h.tokens.begin() + 1, h.tokens.end() - 1)});
    }
  }
  std::vector<Translation> all;
  for (const std::string& text : world.all_gather_bytes(mine.dump()))
    for (const auto& t : nlohmann::json::parse(text)) all.push_back({t[0], t[2], t[1]});
  std::sort(all.begin(), all.end(),
            [](const Translation& a, const Translation& b) { return a.id < b.id; });
  return all;
}

DirectionScores score_direction(const TranslationSource& source, Split split, int32_t direction,
                                const std::vector<Translation>& translations,
                                const std::string& tokenizer) {
  DirectionScores s;
  std::vector<References> references;
  NgramTotals pieces;
  const Sentences& from = source.source(split, direction);
  const Sentences& to = source.target(split, direction);
  for (const Translation& t : translations) {
    s.hypotheses.push_back(source.tokenizer().decode(t.pieces));
    s.sources.push_back(from.text[size_t(t.id)]);
    s.references.push_back(to.text[size_t(t.id)]);
    references.push_back({s.references.back()});
    pieces += piece_bleu_counts(t.pieces, to[t.id], kPad, kEos, kUnk);
  }
  BleuOptions bleu, piece;
  bleu.tokenizer = tokenizer;
  piece.smooth = "none";
  const ChrfOptions chrf;
  const BleuScore score = corpus_bleu(s.hypotheses, references, bleu);
  s.bleu = score.score;
  s.chrf = corpus_chrf(s.hypotheses, references, chrf);
  s.piece_bleu = bleu_score(pieces, piece).score;
  s.copy_bleu = corpus_bleu(s.sources, references, bleu).score;
  s.copy_chrf = corpus_chrf(s.sources, references, chrf);
  s.lines = {score.text(bleu_signature(bleu)), chrf_text(s.chrf, chrf, chrf_signature(chrf)),
             concat("piece ", bleu_score(pieces, piece).text())};
  return s;
}

}  // namespace switchyard
