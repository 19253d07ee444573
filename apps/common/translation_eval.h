// Translating a test set and scoring it: beam search over batches dealt to ranks, BLEU and chrF of a
// direction beside those of copying the source.
#pragma once
#include "apps/common/translation_task.h"
#include "nn/generate.h"

namespace switchyard {

struct Translation {
  int64_t id = 0;               // sentence of the split
  std::vector<int32_t> pieces;  // without language token and </s>
  double score = 0;
};

// The best translation of each sentence of all ranks' batches, by id; complete on every rank. Collective.
std::vector<Translation> translate_batches(Transformer& model, const TranslationSource& source,
                                           const EvalBatches& batches,
                                           const GenerateOptions& options, const dist::Comm& world);

struct DirectionScores {
  double bleu = 0, chrf = 0, piece_bleu = 0;  // of the translations
  double copy_bleu = 0, copy_chrf = 0;        // of the source itself
  std::vector<std::string> lines;             // with signatures
  std::vector<std::string> hypotheses, references, sources;
};
// tokenizer: of BLEU ("13a", "zh", ...).
DirectionScores score_direction(const TranslationSource& source, Split split, int32_t direction,
                                const std::vector<Translation>& translations,
                                const std::string& tokenizer);

}  // namespace switchyard
