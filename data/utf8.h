// UTF-8 and code points, with ICU's tables. Text in this library is UTF-8 in std::string; rules that look
// at characters work on code points.
#pragma once
#include <unicode/uchar.h>
#include <unicode/utf8.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard {

// Why something was left out, and how often. Printed by apps/prepare and stored in the corpus file.
using Counts = std::map<std::string, int64_t>;
inline void add_counts(Counts& into, const Counts& more) {
  for (const auto& [why, n] : more) into[why] += n;
}

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

// Cut at runs of ASCII spaces; no empty pieces.
inline std::vector<std::string_view> split_words(std::string_view text) {
  std::vector<std::string_view> words;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = text.find_first_not_of(' ', i);
    if (begin == std::string_view::npos) break;
    i = std::min(text.find(' ', begin), text.size());
    words.push_back(text.substr(begin, i - begin));
  }
  return words;
}

// "a,b,c" -> {"a", "b", "c"}; blanks around the names are dropped, empty names kept out.
inline std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> parts;
  for (size_t i = 0; i <= text.size();) {
    const size_t end = std::min(text.find(',', i), text.size());
    const auto words = split_words(text.substr(i, end - i));
    if (!words.empty()) parts.emplace_back(words[0]);
    i = end + 1;
  }
  return parts;
}

}  // namespace switchyard
