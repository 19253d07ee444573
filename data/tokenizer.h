// Text <-> token ids of specs/hmoe.md 4.2: 0 <s>, 1 <pad>, 2 </s>, 3 <unk>, then the SentencePiece pieces in file
// order, filler words up to a multiple of 8, then one token `__xx__` for each language, in order.
// The vocabulary list (id -> piece) is what counts; the SentencePiece model's own ids are internal.
#pragma once
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "data/utf8.h"

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace switchyard {

struct TokenizerOptions {
  int64_t vocabulary_size = 8000;      // pieces of the SentencePiece model
  std::string model_type = "unigram";  // or "bpe"
  double character_coverage = 1.0;
  int64_t max_lines = 2000000;  // more lines than this: every k-th one
};

// Trains a model on these lines: a pure function of them and the options. Returns the model's bytes. A vocabulary that
// the text cannot fill, or that cannot hold its characters, is a UserError. Lines left out are counted.
std::string train_sentencepiece(const std::vector<std::string>& lines,
                                const TokenizerOptions& options, Counts& skipped);

class Tokenizer {
 public:
  // model: SentencePiece bytes; empty: words separated by spaces, each a vocabulary entry (the synthetic task).
  // Throws UserError when the model is damaged or does not belong to the vocabulary.
  Tokenizer(std::string model, std::vector<std::string> vocabulary);
  // The vocabulary of a fresh model.
  static std::vector<std::string> make_vocabulary(const std::string& model,
                                                  const std::vector<std::string>& langs);
  static std::vector<std::string> make_vocabulary(std::vector<std::string> pieces,
                                                  const std::vector<std::string>& langs);

  std::vector<int32_t> encode(
      const std::string& text) const;  // pieces only: no language token, no </s>
  std::string decode(
      std::span<const int32_t> ids) const;  // special, filler and language tokens vanish
  int64_t language_token(const std::string& lang) const;  // UserError names the nearest known one
  const std::vector<std::string>& vocabulary() const { return vocabulary_; }
  const std::string& model() const { return model_; }

 private:
  std::string model_;
  std::vector<std::string> vocabulary_;
  std::shared_ptr<const sentencepiece::SentencePieceProcessor>
      processor_;                               // empty for the word tokenizer
  std::vector<int32_t> from_piece_, to_piece_;  // between model ids and ours; -1 = none
  std::unordered_map<std::string, int32_t> id_of_;
};

}  // namespace switchyard
