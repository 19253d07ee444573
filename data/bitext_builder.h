// Raw sentence pairs of all languages -> splits without leakage -> token ids. What apps/prepare does between reading
// files and writing the corpus.
#pragma once
#include <functional>

#include "data/text_files.h"
#include "data/tokenizer.h"
#include "data/translation_source.h"

namespace switchyard {

// A bitext as text.
struct RawBitext {
  std::array<std::string, 2> langs;
  std::array<std::vector<TextPair>, 4> splits;
  Counts counts;  // what was left out, and why
};

struct CatalogueOptions {
  std::string folder;
  std::vector<std::string> langs;                 // without English
  bool plain_test = true;                         // test entries of plain prose only
  std::array<int64_t, 4> caps{0, 400, 800, 800};  // of the evaluation splits of a language
};

// English-xx bitexts from message catalogues: cleaned, deduplicated and split by the English sentence alone. Evaluation
// parts take the sentences that most languages have first; what a cap cuts off is not trained on, and training pairs
// whose translation is an evaluation target are removed.
std::vector<RawBitext> read_gettext(const CatalogueOptions& options,
                                    const std::function<void(const std::string&)>& progress);

// Keeps `limit` training pairs of each bitext, drawn without replacement, in their order. 0 = all.
void limit_training_pairs(std::vector<RawBitext>& bitexts, int64_t limit, uint64_t seed);

// Tokenizes everything (in parallel; the result does not depend on the number of threads).
std::vector<Bitext> encode_bitexts(const std::vector<RawBitext>& raw, const Tokenizer& tokenizer);

}  // namespace switchyard
