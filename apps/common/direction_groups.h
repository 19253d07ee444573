// Groups of directions that evaluation averages over (specs/hmoe.md 4.1, 4.5): by training data, and from and
// into the language that all directions share.
#pragma once
#include "data/corpus.h"

namespace switchyard {

struct DirectionGroup {
  std::string name;
  std::vector<int32_t> directions;
};

inline const char* kResourceGroupsHelp =
    "average over groups: levels = high from 1,000,000 training sentences, very low up to 100,000, "
    "low between; halves = high from the median of the pairs, low below; auto = levels, or halves "
    "where all pairs are on one level; none; or 'high=fr,de-en;low=sv' of languages and directions";

// Resource groups by `rule` (see the help); a group of all directions is left out, like an empty one.
inline std::vector<DirectionGroup> resource_groups(const TranslationSource& source,
                                                   const std::vector<int32_t>& directions,
                                                   const std::string& rule) {
  const auto train = [&](int32_t d) { return source.size(Split::Train, d); };
  std::vector<DirectionGroup> groups;
  const auto group = [&](const std::string& name, const auto& belongs) {
    std::vector<int32_t> found;
    std::ranges::copy_if(directions, std::back_inserter(found), belongs);
    if (!found.empty() && found.size() < directions.size()) groups.push_back({name, found});
  };
  if (rule == "levels" || rule == "auto") {
    group("high", [&](int32_t d) { return train(d) >= 1000000; });
    group("low", [&](int32_t d) { return train(d) > 100000 && train(d) < 1000000; });
    group("very low", [&](int32_t d) { return train(d) <= 100000; });
    if (rule == "levels" || !groups.empty()) return groups;
  }
  if (rule == "halves" || rule == "auto") {
    std::vector<int64_t> sizes;
    for (int32_t d : directions) sizes.push_back(train(d));
    std::ranges::sort(sizes, std::greater());
    const int64_t median = sizes[(sizes.size() - 1) / 2];
    group("high", [&](int32_t d) { return train(d) >= median; });
    group("low", [&](int32_t d) { return train(d) < median; });
    return groups;
  }
  if (rule == "none") return groups;

  user_check(!rule.empty(), "--resource-groups is empty: none averages over all directions only");
  std::vector<std::string> known = source.langs();
  for (const Direction& d : source.directions()) known.push_back(d.name());
  for (const std::string_view part : split_at(rule, ';')) {
    const size_t equals = part.find('=');
    user_check(equals != part.npos && equals > 0 && equals + 1 < part.size(),
               concat("--resource-groups ", rule, ": expected levels, halves, auto, none, or ",
                      "'high=fr,de-en;low=sv', found '", part, "'"));
    const std::vector<std::string> names = split_list(part.substr(equals + 1));
    for (const std::string& name : names)
      check_known(concat("--resource-groups: no language or direction '", name, "'"), name, known);
    group(std::string(part.substr(0, equals)), [&](int32_t d) {
      const Direction& direction = source.directions()[size_t(d)];
      return contains(names, direction.source) || contains(names, direction.target) ||
             contains(names, direction.name());
    });
  }
  return groups;
}

// Where all directions have one language L in common: "L-x" and "x-L", each also within the resource groups.
inline std::vector<DirectionGroup> groups_by_side(const TranslationSource& source,
                                                  const std::vector<int32_t>& directions,
                                                  const std::vector<DirectionGroup>& resources) {
  std::vector<DirectionGroup> groups;
  std::vector<std::string> shared;
  const auto& all = source.directions();
  for (const std::string& lang : source.langs())
    if (std::ranges::all_of(directions, [&](int32_t d) {
          return all[size_t(d)].source == lang || all[size_t(d)].target == lang;
        }))
      shared.push_back(lang);
  if (shared.size() != 1) return groups;  // none, or a single pair
  for (const bool from : {true, false}) {
    const auto on_this_side = [&](int32_t d) {
      const Direction& direction = all[size_t(d)];
      return (from ? direction.source : direction.target) == shared[0];
    };
    if (std::ranges::all_of(directions, on_this_side))
      return {};  // the other groups are of this side
    const auto add = [&](const std::string& name, const std::vector<int32_t>& of) {
      DirectionGroup group{(from ? shared[0] + "-x" : "x-" + shared[0]) + name, {}};
      std::ranges::copy_if(of, std::back_inserter(group.directions), on_this_side);
      if (!group.directions.empty()) groups.push_back(group);
    };
    add("", directions);
    for (const DirectionGroup& r : resources) add(" " + r.name, r.directions);
  }
  return groups;
}

}  // namespace switchyard
