#include "data/bitext_builder.h"

#include <unordered_map>
#include <unordered_set>

#include "tensor/parallel.h"

namespace switchyard {
namespace {

struct Candidate {
  TextPair text;
  std::string key;
};

// Cleaned pairs of one language, the first of each key.
std::vector<Candidate> clean_messages(std::vector<TextPair> messages, const std::string& lang,
                                      Counts& counts) {
  std::vector<Candidate> all(messages.size());
  std::vector<const char*> dropped(messages.size());
  parallel_for(std::ssize(all), 64, [&](int64_t begin, int64_t end) {
    for (size_t i = size_t(begin); i < size_t(end); ++i) {
      all[i].text = std::move(messages[i]);
      dropped[i] = clean_pair(all[i].text.first, all[i].text.second, lang);
      if (!dropped[i]) all[i].key = normalized_key(all[i].text.first);
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

std::vector<RawBitext> read_gettext(const std::string& folder,
                                    const std::vector<std::string>& langs, bool plain_test,
                                    const std::function<void(const std::string&)>& progress,
                                    const std::array<int64_t, 4>& caps) {
  const auto catalogues = find_catalogues(folder);
  std::vector<std::string> available;
  for (const auto& [lang, files] : catalogues) available.push_back(lang);
  for (const std::string& lang : langs)
    check_known(concat("--langs ", lang, ": no catalogues of this language below ", folder), lang,
                available);
  std::vector<RawBitext> bitexts;
  std::vector<std::vector<Candidate>> candidates;
  std::unordered_map<std::string, int> languages_of;  // key -> in how many languages
  for (const std::string& lang : langs) {
    RawBitext& out = bitexts.emplace_back(RawBitext{{"en", lang}});
    const auto& files = catalogues.at(lang);
    std::vector<TextPair> messages = read_catalogues(files, out.counts);
    progress(concat(lang, ": ", messages.size(), " messages in ", files.size(), " catalogues"));
    candidates.push_back(clean_messages(std::move(messages), lang, out.counts));
    for (const Candidate& c : candidates.back()) ++languages_of[c.key];
  }
  for (size_t l = 0; l < candidates.size(); ++l) {
    RawBitext& out = bitexts[l];
    std::unordered_set<std::string> evaluation_targets;
    for (const Split split : {Split::Valid, Split::Test, Split::Extra, Split::Train}) {
      std::vector<Candidate*> part;
      for (Candidate& c : candidates[l])
        if (split_of(c.key) == split) part.push_back(&c);
      const auto drop = [&](const char* why, auto&& unwanted) {
        if (const auto n = std::erase_if(part, unwanted)) out.counts[why] += int64_t(n);
      };
      if (split == Split::Test && plain_test)
        drop("test sentence not plain prose",
             [](const Candidate* c) { return !is_plain_prose(c->text.first); });
      if (split == Split::Train) {
        drop("translation is an evaluation target",
             [&](const Candidate* c) { return evaluation_targets.contains(c->text.second); });
      } else {
        std::ranges::sort(part, {}, [&](const Candidate* c) {
          return std::pair(-languages_of[c->key], std::string_view(c->key));
        });
        const int64_t cap = caps[size_t(split)];
        if (const int64_t above = std::ssize(part) - cap; above > 0) {
          out.counts[concat("above the cap of ", kSplitNames[size_t(split)])] += above;
          part.resize(size_t(cap));
        }
        for (const Candidate* c : part) evaluation_targets.insert(c->text.second);
      }
      for (Candidate* c : part) out.splits[size_t(split)].push_back(std::move(c->text));
    }
  }
  return bitexts;
}

std::vector<Bitext> encode_bitexts(const std::vector<RawBitext>& raw, const Tokenizer& tokenizer) {
  std::vector<Bitext> bitexts;
  for (const RawBitext& r : raw) {
    Bitext& b = bitexts.emplace_back(Bitext{r.langs, {}});
    for_each_side(b, [&](Split split, size_t side, Sentences& out) {
      std::vector<std::string> lines;
      for (const TextPair& p : r.splits[size_t(split)])
        lines.push_back(side == 0 ? p.first : p.second);
      std::vector<std::vector<int32_t>> ids(lines.size());
      parallel_for(std::ssize(ids), 16, [&](int64_t begin, int64_t end) {
        for (size_t i = size_t(begin); i < size_t(end); ++i) ids[i] = tokenizer.encode(lines[i]);
      });
      for (const auto& pieces : ids) out.add(pieces);
      if (split != Split::Train) out.text = std::move(lines);
    });
  }
  return bitexts;
}

}  // namespace switchyard
