#include <set>

#include "data/corpus.h"
#include "tensor/rng.h"

namespace switchyard {
namespace {

using Concepts = std::vector<int32_t>;

constexpr size_t kLanguages = 4, kConcepts = 24, kMinWords = 3, kMaxWords = 8;
constexpr std::array<size_t, 4> kSentences = {3000, 64, 64, 0};  // by split

// The word order of a language.
Concepts reorder(Concepts sentence, size_t language) {
  if (language == 1) std::reverse(sentence.begin(), sentence.end());
  if (language == 2) std::rotate(sentence.begin(), sentence.begin() + 1, sentence.end());
  for (size_t i = 0; language == 3 && i + 1 < sentence.size(); i += 2)
    std::swap(sentence[i], sentence[i + 1]);
  return sentence;
}

// Two syllables and the language's ending: "baba", "bafan", ...: one word for each (language, number).
std::string spell(size_t language, size_t number) {
  constexpr const char *onsets = "bdfgklmnprstvz", *vowels = "aeiou";
  const char* endings[kLanguages] = {"", "n", "r", "s"};
  const auto syllable = [&](size_t k) { return std::string{onsets[k % 14], vowels[k / 14]}; };
  return syllable(number) + syllable(language) + endings[language];
}

}  // namespace

std::shared_ptr<const TranslationSource> make_synthetic(uint64_t seed) {
  std::vector<std::string> langs, words;
  std::array<Concepts, kLanguages> word_of;  // which of the language's words, a permutation
  RandomSequence random(random_stream(seed, "data/synthetic"));
  for (size_t l = 0; l < kLanguages; ++l) {
    langs.push_back(concat("syn", l + 1));
    word_of[l].resize(kConcepts);
    std::iota(word_of[l].begin(), word_of[l].end(), 0);
    for (size_t i = kConcepts; i > 1; --i)
      std::swap(word_of[l][i - 1], word_of[l][random.below(i)]);
    for (size_t w = 0; w < kConcepts; ++w) words.push_back(spell(l, w));
  }
  const auto encode = [&](const Concepts& sentence, size_t l) {
    std::vector<int32_t> ids;
    for (int32_t c : reorder(sentence, l))
      ids.push_back(int32_t(size_t(kUnk) + 1 + l * kConcepts) + word_of[l][size_t(c)]);
    return ids;
  };

  std::array<std::vector<Concepts>, 4> splits;
  std::set<Concepts> seen;  // the splits are distinct sentences, so nothing leaks
  for (size_t s = 0; s < splits.size(); ++s) {
    while (splits[s].size() < kSentences[s]) {
      Concepts sentence(kMinWords + random.below(kMaxWords - kMinWords + 1));
      for (int32_t& c : sentence) c = int32_t(random.below(kConcepts));
      if (seen.insert(sentence).second) splits[s].push_back(sentence);
    }
  }

  Tokenizer tokenizer("", make_vocabulary(words, langs));
  std::vector<Bitext> bitexts;
  for (size_t a = 0; a < kLanguages; ++a) {
    for (size_t b = a + 1; b < kLanguages; ++b) {
      Bitext& bitext = bitexts.emplace_back(Bitext{{langs[a], langs[b]}, {}});
      for_each_side(bitext, [&](Split split, size_t side, Sentences& out) {
        for (const Concepts& sentence : splits[size_t(split)]) {
          const std::vector<int32_t> ids = encode(sentence, side == 0 ? a : b);
          out.add(ids);
          if (split != Split::Train) out.text.push_back(tokenizer.decode(ids));
        }
      });
    }
  }
  return std::make_shared<TranslationSource>("the synthetic task", langs, std::move(tokenizer),
                                             std::move(bitexts));
}

}  // namespace switchyard
