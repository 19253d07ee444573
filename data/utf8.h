// UTF-8 and code points, with ICU's tables, and lists of words. Text in this library is UTF-8 in std::string; rules
// that look at characters work on code points.
#pragma once
#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace switchyard {

// Why something was left out, and how often. Printed by apps/prepare and stored in the corpus file.
using Counts = std::map<std::string, int64_t>;

// Calls fn(code point) for each; an invalid byte sequence gives one negative value.
template <class Fn>
void for_each_code_point(std::string_view text, Fn&& fn) {
  const int64_t n = int64_t(text.size());
  for (int64_t i = 0; i < n;) {
    UChar32 c;
    U8_NEXT(reinterpret_cast<const uint8_t*>(text.data()), i, n, c);
    fn(c);
  }
}

inline bool valid_utf8(std::string_view text) {
  bool ok = true;
  for_each_code_point(text, [&](UChar32 c) { ok &= c >= 0; });
  return ok;
}

// The property White_Space, and U+001C..001F, which are separators to text tools as well.
inline bool is_white_space(UChar32 c) { return u_isUWhiteSpace(c) || (c >= 0x1C && c <= 0x1F); }

inline void append_utf8(std::string& out, UChar32 c) {
  uint8_t bytes[4];
  int32_t n = 0;
  U8_APPEND_UNSAFE(bytes, n, c);
  out.append(reinterpret_cast<const char*>(bytes), size_t(n));
}

inline int64_t count_code_points(std::string_view text) {
  int64_t n = 0;
  for_each_code_point(text, [&](UChar32) { ++n; });
  return n;
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

}  // namespace switchyard
