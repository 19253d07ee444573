#include "data/bitext_builder.h"

#include <algorithm>
#include <numeric>
#include <unordered_map>
#include <unordered_set>

#include "data/clean.h"
#include "data/gettext.h"
#include "tensor/check.h"
#include "tensor/parallel.h"
#include "tensor/rng.h"

namespace switchyard {
namespace {

struct Candidate {
  TextPair text;
  std::string key;
  Split split = Split::Train;
};

// Cleaned pairs of one language, the first of each key.
std::vector<Candidate> clean_messages(std::vector<Message> messages, const std::string& lang,
                                      Counts& counts) {
  std::vector<Candidate> all(messages.size());
  std::vector<const char*> dropped(messages.size());
  parallel_for(int64_t(all.size()), 64, [&](int64_t begin, int64_t end) {
    for (size_t i = size_t(begin); i < size_t(end); ++i) {
      Candidate& c = all[i];
      c.text = {std::move(messages[i].source), std::move(messages[i].target)};
      dropped[i] = clean_pair(c.text.first, c.text.second, lang);
      c.key = normalized_key(c.text.first);
      c.split = split_of(c.key);
    }
  });
  std::vector<Candidate> kept;
  std::unordered_set<std::string> seen;
  for (size_t i = 0; i < all.size(); ++i) {
    if (dropped[i]) ++counts[dropped[i]];
    else if (!seen.insert(all[i].key).second) ++counts["repeated English sentence"];
    else kept.push_back(std::move(all[i]));
  }
  return kept;
}

}  // namespace

std::vector<RawBitext> read_gettext(const CatalogueOptions& options,
                                    const std::function<void(const std::string&)>& progress) {
  const std::vector<std::string> available = catalogue_languages(options.folder);
  for (const std::string& lang : options.langs) {
    user_check(
        std::binary_search(available.begin(), available.end(), lang),
        concat("--langs ", lang, ": no catalogues of this language below ", options.folder,
               "; nearest of the ", available.size(), " there is ", nearest_name(lang, available)));
  }
  std::vector<RawBitext> bitexts;
  std::vector<std::vector<Candidate>> candidates;
  std::unordered_map<std::string, int> languages_of;  // key -> in how many languages
  for (const std::string& lang : options.langs) {
    CatalogueSet set = read_catalogues(options.folder, lang);
    progress(concat(lang, ": ", set.messages.size(), " messages in ", set.files, " catalogues"));
    bitexts.push_back({{"en", lang}, {}, std::move(set.skipped)});
    candidates.push_back(clean_messages(std::move(set.messages), lang, bitexts.back().counts));
    for (const Candidate& c : candidates.back()) ++languages_of[c.key];
  }
  const std::array<int64_t, 4> caps = {INT64_MAX, options.valid, options.test, options.extra};
  for (size_t l = 0; l < candidates.size(); ++l) {
    RawBitext& out = bitexts[l];
    std::array<std::vector<Candidate*>, 4> parts;
    for (Candidate& c : candidates[l]) {
      if (c.split == Split::Test && options.plain_test && !is_plain_prose(c.text.first)) {
        ++out.counts["test sentence not plain prose"];
      } else {
        parts[size_t(c.split)].push_back(&c);
      }
    }
    std::unordered_set<std::string> evaluation_targets;
    for (size_t s = 1; s < parts.size(); ++s) {
      std::sort(parts[s].begin(), parts[s].end(), [&](const Candidate* a, const Candidate* b) {
        const int x = languages_of[a->key], y = languages_of[b->key];
        return x != y ? x > y : a->key < b->key;
      });
      if (int64_t(parts[s].size()) > caps[s]) {
        out.counts[concat("above the cap of ", kSplitNames[s])] +=
            int64_t(parts[s].size()) - caps[s];
        parts[s].resize(size_t(caps[s]));
      }
      for (Candidate* c : parts[s]) {
        evaluation_targets.insert(c->text.second);
        out.splits[s].push_back(std::move(c->text));
      }
    }
    for (Candidate* c : parts[0]) {
      if (evaluation_targets.contains(c->text.second))
        ++out.counts["translation is an evaluation target"];
      else out.splits[0].push_back(std::move(c->text));
    }
  }
  return bitexts;
}

void limit_training_pairs(std::vector<RawBitext>& bitexts, int64_t limit, uint64_t seed) {
  for (RawBitext& b : bitexts) {
    std::vector<TextPair>& train = b.splits[0];
    if (limit <= 0 || int64_t(train.size()) <= limit) continue;
    b.counts["above --max-pairs"] += int64_t(train.size()) - limit;
    RandomSequence random(
        random_stream(seed, "prepare/max-pairs/" + b.langs[0] + "-" + b.langs[1]));
    std::vector<size_t> order(train.size());
    std::iota(order.begin(), order.end(), size_t(0));
    for (size_t i = 0; i < size_t(limit); ++i)
      std::swap(order[i], order[i + random.below(order.size() - i)]);
    order.resize(size_t(limit));
    std::ranges::sort(order);
    std::vector<TextPair> kept;
    for (size_t i : order) kept.push_back(std::move(train[i]));
    train = std::move(kept);
  }
}

std::vector<Bitext> encode_bitexts(const std::vector<RawBitext>& raw, const Tokenizer& tokenizer) {
  std::vector<Bitext> bitexts;
  for (const RawBitext& r : raw) {
    Bitext& b = bitexts.emplace_back(Bitext{r.langs, {}});
    for (size_t s = 0; s < r.splits.size(); ++s) {
      for (const auto side : {&TextPair::first, &TextPair::second}) {
        const std::vector<TextPair>& pairs = r.splits[s];
        std::vector<std::vector<int32_t>> ids(pairs.size());
        parallel_for(int64_t(pairs.size()), 16, [&](int64_t begin, int64_t end) {
          for (size_t i = size_t(begin); i < size_t(end); ++i)
            ids[i] = tokenizer.encode(pairs[i].*side);
        });
        Sentences& out = b.splits[s][side == &TextPair::second];
        for (const auto& pieces : ids) out.add(pieces);
        for (size_t i = 0; Split(s) != Split::Train && i < pairs.size(); ++i)
          out.text.push_back(pairs[i].*side);
      }
    }
  }
  return bitexts;
}

}  // namespace switchyard
