// Text <-> token ids of specs/hmoe.md 4.2: 0 <s>, 1 <pad>, 2 </s>, 3 <unk>, then the SentencePiece pieces in file
// order, filler words up to a multiple of 8, then one token `__xx__` for each language, in order.
// The vocabulary list (id -> piece) is what counts; the SentencePiece model's own ids are internal.
#pragma once
#include <memory>
#include <span>

#include "data/utf8.h"

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace switchyard {

inline constexpr int64_t kBos = 0, kPad = 1, kEos = 2, kUnk = 3;

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

// The vocabulary of a fresh model, or of these words.
std::vector<std::string> make_vocabulary(const std::string& model,
                                         const std::vector<std::string>& langs);
std::vector<std::string> make_vocabulary(const std::vector<std::string>& words,
                                         const std::vector<std::string>& langs);

class Tokenizer {
 public:
  // model: SentencePiece bytes; empty: words separated by spaces, each a vocabulary entry (the synthetic task).
  // Throws UserError when the model is damaged or does not belong to the vocabulary.
  Tokenizer(std::string model, std::vector<std::string> vocabulary);

  // Pieces only: no language token, no </s>
  std::vector<int32_t> encode(const std::string& text) const;
  // Special, filler and language tokens vanish
  std::string decode(std::span<const int32_t> ids) const;
  int64_t language_token(const std::string& lang) const;  // UserError names the nearest known one
  const std::vector<std::string>& vocabulary() const { return vocabulary_; }
  const std::string& model() const { return model_; }

 private:
  std::string model_;
  std::vector<std::string> vocabulary_;
  // Empty for the word tokenizer
  std::shared_ptr<const sentencepiece::SentencePieceProcessor> processor_;
};

}  // namespace switchyard
