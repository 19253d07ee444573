// UTF-8 and code points, and lists of words. Text in this library is UTF-8 in std::string; rules
// that look at characters work on code points.
#pragma once
#include <unicode/utf8.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tensor/check.h"

namespace switchyard {

// Why something was left out, and how often. Printed by apps/prepare and stored in the corpus file.
using Counts = std::map<std::string, int64_t>;

// An invalid byte sequence gives one negative value.
inline std::vector<UChar32> code_points(std::string_view text) {
  std::vector<UChar32> points;
  for (size_t i = 0; i < text.size();) {
    UChar32 c;
    U8_NEXT(reinterpret_cast<const uint8_t*>(text.data()), i, text.size(), c);
    points.push_back(c);
  }
  return points;
}
inline bool valid_utf8(std::string_view text) {
  return std::ranges::all_of(code_points(text), [](UChar32 c) { return c >= 0; });
}
inline int64_t count_code_points(std::string_view text) { return std::ssize(code_points(text)); }

inline std::string join(const std::vector<std::string>& parts, const std::string& between) {
  std::string text;
  for (const std::string& part : parts) text += (&part == parts.data() ? "" : between) + part;
  return text;
}
// The pieces between the marks; "a\nb\n" has two lines. Only at '\n', never at U+0085 or U+2028.
inline std::vector<std::string_view> split_at(std::string_view text, char mark) {
  std::vector<std::string_view> pieces;
  for (size_t i = 0; i < text.size(); i += pieces.back().size() + 1)
    pieces.push_back(text.substr(i, text.find(mark, i) - i));
  return pieces;
}

// Cut at runs of ASCII spaces; no empty pieces.
inline std::vector<std::string_view> split_words(std::string_view text) {
  std::vector<std::string_view> words = split_at(text, ' ');
  std::erase(words, "");
  return words;
}

// "a,b,c" -> {"a", "b", "c"}; blanks around the names are dropped, empty names kept out.
inline std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> parts;
  for (const std::string_view part : split_at(text, ',')) {
    const auto words = split_words(part);
    if (!words.empty()) parts.emplace_back(words[0]);
  }
  return parts;
}

inline bool contains(const std::vector<std::string>& list, std::string_view name) {
  return std::ranges::count(list, name) > 0;
}

// "did you mean": the known name with the smallest Levenshtein distance.
inline std::string nearest_name(const std::string& name, const std::vector<std::string>& known) {
  std::string best;
  size_t best_distance = SIZE_MAX;
  for (const std::string& k : known) {
    std::vector<size_t> row(k.size() + 1);  // distances of name[0, i) to k[0, j)
    std::iota(row.begin(), row.end(), size_t(0));
    for (size_t i = 1; i <= name.size(); ++i) {
      size_t diagonal = std::exchange(row[0], i);
      for (size_t j = 1; j <= k.size(); ++j) {
        const size_t replaced = diagonal + (name[i - 1] != k[j - 1]);
        diagonal = row[j];
        row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
      }
    }
    if (row.back() < best_distance) best_distance = row.back(), best = k;
  }
  return best;
}

// UserError that begins with `what` and suggests the nearest name, unless `name` is a known one.
inline void check_known(const std::string& what, const std::string& name,
                        const std::vector<std::string>& known) {
  user_check(contains(known, name),
             concat(what, ": did you mean ", nearest_name(name, known), "?"));
}

}  // namespace switchyard
