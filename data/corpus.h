// Parallel text in memory: what training and evaluation read. It comes from a corpus file or from the built-in
// synthetic task; it is immutable and shared by the thread ranks of a process.
// A corpus file, made by apps/prepare, is a function of text and options alone. One HDF5 file:
//   /tokenizer  u8, SentencePiece model            /vocabulary  strings, id -> piece
//   /<split>/<a>-<b>/<lang>/tokens  i32, flat      .../offsets  i64 [n + 1]      .../text  strings, evaluation only
//   attributes of /: kind, format, langs, pairs, options, skipped (JSON), checksum, train_pairs, ...
#pragma once
#include <array>

#include "data/tokenizer.h"

namespace switchyard {

enum class Split { Train, Valid, Test, Extra };  // Extra: a further evaluation part
inline constexpr std::array<std::string_view, 4> kSplitNames = {"train", "valid", "test", "extra"};
inline Split split_named(std::string_view name) {  // one of kSplitNames
  return Split(std::ranges::find(kSplitNames, name) - kSplitNames.begin());
}

// One side of a bitext in one split: piece ids without </s> and language token, flat, sentence i at offsets[i].
struct Sentences {
  std::vector<int32_t> tokens;
  std::vector<int64_t> offsets = {0};  // [n + 1]
  std::vector<std::string> text;       // [n] detokenised, in evaluation splits; else empty
  int64_t size() const { return int64_t(offsets.size()) - 1; }
  std::span<const int32_t> operator[](int64_t i) const {
    return {tokens.data() + offsets[size_t(i)], tokens.data() + offsets[size_t(i) + 1]};
  }
  void add(const std::vector<int32_t>& pieces) {
    tokens.insert(tokens.end(), pieces.begin(), pieces.end());
    offsets.push_back(int64_t(tokens.size()));
  }
};

// Two languages; both directions share these arrays.
struct Bitext {
  std::array<std::string, 2> langs;
  std::array<std::array<Sentences, 2>, 4> splits = {};  // [split][side]
  std::string name() const { return langs[0] + "-" + langs[1]; }
};

// Calls fn(split, side, sentences) for each; b: a Bitext, const or not.
template <class B, class Fn>
void for_each_side(B& b, Fn&& fn) {
  for (size_t split = 0; split < b.splits.size(); ++split)
    for (size_t side = 0; side < 2; ++side) fn(Split(split), side, b.splits[split][side]);
}

struct Direction {
  std::string source, target;
  int32_t bitext = 0, source_side = 0;
  std::string name() const { return source + "-" + target; }
};

class TranslationSource {
 public:
  // Checks that everything fits together: UserErrors begin with `origin`.
  TranslationSource(std::string origin, std::vector<std::string> langs, Tokenizer tokenizer,
                    std::vector<Bitext> bitexts);

  const std::string& origin() const { return origin_; }  // file name, or what it is
  const std::vector<std::string>& langs() const { return langs_; }
  const std::vector<Direction>& directions() const { return directions_; }  // both of each bitext
  const std::vector<Bitext>& bitexts() const { return bitexts_; }
  const Tokenizer& tokenizer() const { return tokenizer_; }
  int64_t vocabulary_size() const { return int64_t(tokenizer_.vocabulary().size()); }

  int64_t size(Split split, int32_t direction) const { return source(split, direction).size(); }
  const Sentences& source(Split split, int32_t direction) const {
    return side(split, direction, 0);
  }
  const Sentences& target(Split split, int32_t direction) const {
    return side(split, direction, 1);
  }

  // XXH3-128 of languages, vocabulary, tokenizer, tokens and texts: what a run's data is known by.
  std::string checksum() const;

 private:
  const Sentences& side(Split split, int32_t direction, int which) const {
    const Direction& d = directions_[size_t(direction)];
    return bitexts_[size_t(d.bitext)].splits[size_t(split)][size_t(d.source_side ^ which)];
  }

  std::string origin_;
  std::vector<std::string> langs_;
  Tokenizer tokenizer_;
  std::vector<Bitext> bitexts_;
  std::vector<Direction> directions_;
};

// UserError when a corpus cannot be written there: before the work, not after it.
void check_output(const std::string& path);
// options: how it was made, as text. Writes a temporary file, then renames it.
void write_corpus(const std::string& path, const TranslationSource& data, const Counts& skipped,
                  const std::string& options);
// Reads and checks everything: foreign and damaged files are UserErrors that name the file.
std::shared_ptr<const TranslationSource> read_corpus(const std::string& path);

// A many-to-many translation task without files. Sentences are sequences of concepts; language l writes concept c with a
// word of its own and orders the words by its own rule (as they come, reversed, rotated by one, neighbours swapped).
// A model can only solve it by reading the source and by heeding the language token.
// Languages syn1 .. syn4, every pair of them a bitext. A function of the seed alone; no sentence is in two splits.
std::shared_ptr<const TranslationSource> make_synthetic(uint64_t seed = 1);

}  // namespace switchyard
