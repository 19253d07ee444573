// A many-to-many translation task without files. Sentences are sequences of concepts; language l writes concept c with a
// word of its own and orders the words by its own rule (as they come, reversed, rotated by one, neighbours swapped).
// A model can only solve it by reading the source and by heeding the language token.
#pragma once
#include "data/translation_source.h"

namespace switchyard {

// Languages syn1 .. syn4, every pair of them a bitext. A function of the seed alone; no sentence is in two splits.
std::shared_ptr<const TranslationSource> make_synthetic(uint64_t seed = 1);

}  // namespace switchyard
