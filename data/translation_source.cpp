#include "data/translation_source.h"

#include <xxhash.h>

#include <iomanip>

#include "tensor/check.h"

namespace switchyard {

TranslationSource::TranslationSource(std::string origin, std::vector<std::string> langs,
                                     Tokenizer tokenizer, std::vector<Bitext> bitexts)
    : origin_(std::move(origin)),
      langs_(std::move(langs)),
      tokenizer_(std::move(tokenizer)),
      bitexts_(std::move(bitexts)) {
  user_check(!bitexts_.empty(), concat(origin_, ": no language pair in it"));
  for (const std::string& lang : langs_) tokenizer_.language_token(lang);
  for (const Bitext& b : bitexts_) {
    for (const std::string& lang : b.langs) {
      user_check(std::ranges::count(langs_, lang) > 0,
                 concat(origin_, ": pair ", b.name(), " has a language that is not in its list"));
    }
    for_each_side(b, [&](Split split, size_t, const Sentences& side) {
      const std::string where = concat(origin_, ": ", kSplitNames[size_t(split)], "/", b.name());
      const int64_t n = b.splits[size_t(split)][0].size();
      const auto& o = side.offsets;
      user_check(side.size() == n,
                 concat(where, ": ", n, " and ", side.size(), " sentences, expected as many"));
      user_check(!o.empty() && o.front() == 0 && std::ranges::is_sorted(o) &&
                     o.back() == std::ssize(side.tokens),
                 where + ": offsets do not rise from 0 to the number of tokens");
      const auto known = [&](int32_t id) { return id >= kUnk && id < vocabulary_size(); };
      user_check(std::ranges::all_of(side.tokens, known),
                 concat(where, ": a token id is not from ", kUnk, " to ", vocabulary_size() - 1));
      user_check(side.text.empty() || std::ssize(side.text) == n,
                 concat(where, ": ", side.text.size(), " texts for ", n, " sentences"));
    });
    const int32_t index = int32_t(&b - bitexts_.data());
    directions_.push_back({b.langs[0], b.langs[1], index, 0});
    directions_.push_back({b.langs[1], b.langs[0], index, 1});
  }
}

std::string TranslationSource::checksum() const {
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(),
                                                                 XXH3_freeState);
  XXH3_128bits_reset(state.get());
  const auto add = [&](const void* bytes, size_t n) {
    const uint64_t length = n;  // lengths too: "ab" + "c" is not "a" + "bc"
    XXH3_128bits_update(state.get(), &length, sizeof length);
    XXH3_128bits_update(state.get(), bytes, n);
  };
  const auto add_all = [&](const std::vector<std::string>& list) {
    const uint64_t n = list.size();
    add(&n, sizeof n);
    for (const std::string& s : list) add(s.data(), s.size());
  };
  add_all(langs_);
  add_all(tokenizer_.vocabulary());
  add(tokenizer_.model().data(), tokenizer_.model().size());
  for (const Bitext& b : bitexts_) {
    add_all({b.langs[0], b.langs[1]});
    for_each_side(b, [&](Split, size_t, const Sentences& side) {
      add(side.tokens.data(), side.tokens.size() * sizeof(int32_t));
      add(side.offsets.data(), side.offsets.size() * sizeof(int64_t));
      add_all(side.text);
    });
  }
  const XXH128_hash_t h = XXH3_128bits_digest(state.get());
  return concat(std::hex, std::setfill('0'), std::setw(16), h.high64, std::setw(16), h.low64);
}

}  // namespace switchyard
