// A many-to-many translation task without files. Sentences are sequences of concepts; language l writes concept c with a
// word of its own and orders the words by its own rule (as they come, reversed, rotated by one, neighbours swapped).
// A model can only solve it by reading the source and by heeding the language token.
#pragma once
#include "data/translation_source.h"

namespace switchyard {

struct SyntheticOptions {
  int languages = 4;  // syn1, syn2, ...; every pair of them is a bitext
  int concepts = 24;
  int min_words = 3, max_words = 8;
  int64_t train = 3000, valid = 64, test = 64;  // sentences; no sentence is in two splits
  uint64_t seed = 1;
};

std::shared_ptr<const TranslationSource> make_synthetic(const SyntheticOptions& options);
inline std::shared_ptr<const TranslationSource> make_synthetic(uint64_t seed = 1) {
  SyntheticOptions options;
  options.seed = seed;
  return make_synthetic(options);
}

}  // namespace switchyard
