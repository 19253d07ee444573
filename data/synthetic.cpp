#include "data/synthetic.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "data/batch.h"
#include "tensor/check.h"
#include "tensor/rng.h"

namespace switchyard {
namespace {

using Concepts = std::vector<int32_t>;

// The word order of a language.
Concepts reorder(Concepts sentence, int language) {
  switch (language % 4) {
    case 1:
      std::reverse(sentence.begin(), sentence.end());
      break;
    case 2:
      std::rotate(sentence.begin(), sentence.begin() + 1, sentence.end());
      break;
    case 3:
      for (size_t i = 0; i + 1 < sentence.size(); i += 2) std::swap(sentence[i], sentence[i + 1]);
      break;
    default:
      break;
  }
  return sentence;
}

// Two syllables and the language's ending: "bako", "bakos", "bakor", ... one word for each (language, rank).
std::string spell(int language, int word) {
  constexpr const char* onsets = "bdfgklmnprstvz";
  constexpr const char* vowels = "aeiou";
  constexpr const char* endings = " nrslmtk";
  const auto syllable = [&](int k) { return std::string{onsets[k % 14], vowels[k / 14 % 5]}; };
  std::string text = syllable(word % 70) + syllable(word / 70 % 70 + language);
  if (language > 0) text += endings[language % 8];
  return language < 8 ? text : concat(text, language);
}

}  // namespace

std::shared_ptr<const TranslationSource> make_synthetic(const SyntheticOptions& o) {
  check(o.languages >= 2 && o.concepts >= 2 && o.min_words >= 2 && o.max_words >= o.min_words,
        "synthetic task: sizes");
  std::vector<std::string> langs, words;
  std::vector<Concepts>
      word_of;  // [language][concept]: which of the language's words, a permutation
  RandomSequence random(random_stream(o.seed, "data/synthetic"));
  for (int l = 0; l < o.languages; ++l) {
    langs.push_back(concat("syn", l + 1));
    Concepts permutation(size_t(o.concepts), 0);
    std::iota(permutation.begin(), permutation.end(), 0);
    for (size_t i = permutation.size(); i > 1; --i)
      std::swap(permutation[i - 1], permutation[random.below(i)]);
    word_of.push_back(permutation);
    for (int w = 0; w < o.concepts; ++w) words.push_back(spell(l, w));
  }
  const auto encode = [&](const Concepts& sentence, int l) {
    std::vector<int32_t> ids;
    for (int32_t c : reorder(sentence, l))
      ids.push_back(int32_t(kUnk) + 1 + l * o.concepts + word_of[size_t(l)][size_t(c)]);
    return ids;
  };

  std::array<std::vector<Concepts>, 4> splits;
  const std::array<int64_t, 4> sizes = {o.train, o.valid, o.test, 0};
  std::set<Concepts> seen;  // the splits are distinct sentences, so nothing leaks
  for (size_t s = 0; s < splits.size(); ++s) {
    for (int64_t tries = 0; int64_t(splits[s].size()) < sizes[s]; ++tries) {
      check(tries < 100 * sizes[s] + 1000,
            "synthetic task: too few different sentences of this length");
      Concepts sentence(size_t(o.min_words) +
                        random.below(uint64_t(o.max_words - o.min_words + 1)));
      for (int32_t& c : sentence) c = int32_t(random.below(uint64_t(o.concepts)));
      if (seen.insert(sentence).second) splits[s].push_back(sentence);
    }
  }

  Tokenizer tokenizer("", Tokenizer::make_vocabulary(std::move(words), langs));
  std::vector<Bitext> bitexts;
  for (int a = 0; a < o.languages; ++a) {
    for (int b = a + 1; b < o.languages; ++b) {
      Bitext bitext{{langs[size_t(a)], langs[size_t(b)]}, {}};
      for (size_t s = 0; s < splits.size(); ++s) {
        for (const Concepts& sentence : splits[s]) {
          for (int side = 0; side < 2; ++side) {
            const std::vector<int32_t> ids = encode(sentence, side == 0 ? a : b);
            Sentences& out = bitext.splits[s][size_t(side)];
            out.add(ids);
            if (Split(s) != Split::Train) out.text.push_back(tokenizer.decode(ids));
          }
        }
      }
      bitexts.push_back(std::move(bitext));
    }
  }
  return std::make_shared<TranslationSource>("the synthetic task", langs, std::move(tokenizer),
                                             std::move(bitexts));
}

}  // namespace switchyard
