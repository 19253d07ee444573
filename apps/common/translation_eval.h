// Translating a test set and scoring it: beam search over batches dealt to ranks, BLEU and chrF of a
// direction beside those of copying the source.
#pragma once
#include <map>

#include "apps/common/translation_task.h"
#include "nn/generate.h"

namespace switchyard {

// Sentence of the split -> pieces of its best translation, without language token and </s>.
using Translations = std::map<int64_t, std::vector<int32_t>>;

// Of all ranks' batches; complete on every rank. Collective.
Translations translate_batches(Transformer& model, const TranslationSource& source,
                               const EvalBatches& batches, const GenerateOptions& options,
                               const dist::Comm& world);

struct DirectionScores {
  std::map<std::string, double> scores;  // "BLEU", "chrF2"; "copy BLEU", ...: of the source itself
  std::map<std::string, std::string> lines;  // "sacrebleu", "chrf", "bleu-pieces": with signatures
  std::map<std::string, std::vector<std::string>> texts;  // "src", "ref", "hyp"
};
// tokenizer: of BLEU ("13a", "zh", ...).
DirectionScores score_direction(const TranslationSource& source, Split split, int32_t direction,
                                const Translations& translations, const std::string& tokenizer);

// Ids as words, for BLEU over pieces (specs/hmoe.md 4.5): <unk> of a reference matches nothing.
std::string piece_line(std::span<const int32_t> pieces, bool reference);

}  // namespace switchyard
