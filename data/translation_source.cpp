#include "data/translation_source.h"

#include <xxhash.h>

#include <algorithm>

#include "data/batch.h"
#include "tensor/check.h"

namespace switchyard {

Split split_named(const std::string& name) {
  for (size_t s = 0; s < kSplitNames.size(); ++s) {
    if (name == kSplitNames[s]) return Split(s);
  }
  throw UserError(concat("unknown split ", name, ": expected train, valid, test or extra"));
}

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
      user_check(std::find(langs_.begin(), langs_.end(), lang) != langs_.end(),
                 concat(origin_, ": pair ", b.name(), " has a language that is not in its list"));
    }
    for (size_t s = 0; s < b.splits.size(); ++s) {
      const std::string where = concat(origin_, ": ", kSplitNames[s], "/", b.name());
      const Sentences &x = b.splits[s][0], &y = b.splits[s][1];
      user_check(x.size() == y.size(),
                 concat(where, ": ", x.size(), " and ", y.size(), " sentences, expected as many"));
      for (const Sentences* side : {&x, &y}) {
        const auto& o = side->offsets;
        user_check(!o.empty() && o.front() == 0 && std::ranges::is_sorted(o) &&
                       o.back() == int64_t(side->tokens.size()),
                   where + ": offsets do not rise from 0 to the number of tokens");
        const auto known = [&](int32_t id) { return id >= kUnk && id < vocabulary_size(); };
        user_check(std::ranges::all_of(side->tokens, known),
                   concat(where, ": a token id is not from ", kUnk, " to ", vocabulary_size() - 1));
        user_check(
            side->text.empty() || int64_t(side->text.size()) == side->size(),
            concat(where, ": ", side->text.size(), " texts for ", side->size(), " sentences"));
      }
    }
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
    for (const auto& split : b.splits) {
      for (const Sentences& side : split) {
        add(side.tokens.data(), side.tokens.size() * sizeof(int32_t));
        add(side.offsets.data(), side.offsets.size() * sizeof(int64_t));
        add_all(side.text);
      }
    }
  }
  const XXH128_hash_t h = XXH3_128bits_digest(state.get());
  char text[33];
  std::snprintf(text, sizeof text, "%016llx%016llx", (unsigned long long)h.high64,
                (unsigned long long)h.low64);
  return text;
}

}  // namespace switchyard
