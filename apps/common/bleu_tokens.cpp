// The tokenisers of specs/bleu.md 2 and 3: substitutions over the whole line, one after another. A pair
// rule consumes both characters it matched, so they cannot take part in its next match.
#include <unicode/uchar.h>

#include "apps/common/bleu.h"

namespace switchyard {
namespace {

bool is_digit(char32_t c) { return c >= U'0' && c <= U'9'; }
bool is_period_or_comma(char32_t c) { return c == U'.' || c == U','; }
bool is_ascii_symbol(char32_t c) {
  return c == U' ' || (is_ascii_punctuation(c) && Symbols(U"',-.").find(c) == Symbols::npos);
}

// A test for Unicode's general categories, such as U_GC_P_MASK for punctuation.
auto in_category(uint32_t mask) {
  return [mask](char32_t c) { return (U_GET_GC_MASK(static_cast<UChar32>(c)) & mask) != 0; };
}

// The last two ranges come from the reference's four-digit escapes of supplementary ranges; they cover
// general punctuation, arrows and mathematical operators and change scores.
bool is_chinese(char32_t c) {
  static constexpr char32_t ranges[][2] = {
      {0x3400, 0x4DB5}, {0x4E00, 0x9FA5}, {0x9FA6, 0x9FBB}, {0xF900, 0xFA2D}, {0xFA30, 0xFA6A},
      {0xFA70, 0xFAD9}, {0xFF00, 0xFFEF}, {0x2E80, 0x2EFF}, {0x3000, 0x303F}, {0x31C0, 0x31EF},
      {0x2F00, 0x2FDF}, {0x2FF0, 0x2FFF}, {0x3100, 0x312F}, {0x31A0, 0x31BF}, {0xFE10, 0xFE1F},
      {0xFE30, 0xFE4F}, {0x2600, 0x26FF}, {0x2700, 0x27BF}, {0x3200, 0x32FF}, {0x3300, 0x33FF},
      {0x2001, 0x2A6D}, {0x2F81, 0x2FA1}};
  for (const auto& [first, last] : ranges)
    if (c >= first && c <= last) return true;
  return false;
}

// Each matching code point gets a space on both sides.
template <class Match>
Symbols surround(const Symbols& line, Match match) {
  Symbols out;
  for (const char32_t c : line) out += match(c) ? Symbols{U' ', c, U' '} : Symbols{c};
  return out;
}

// (first)(second) becomes before + first + " " + second + after.
template <class First, class Second>
Symbols separate(const Symbols& line, First first, Second second, const Symbols& before,
                 const Symbols& after) {
  Symbols out;
  for (size_t i = 0; i < line.size(); ++i) {
    if (i + 1 < line.size() && first(line[i]) && second(line[i + 1])) {
      out += before + line[i] + U' ' + line[i + 1] + after;
      ++i;
    } else {
      out += line[i];
    }
  }
  return out;
}

Symbols join_split(const Symbols& line) {
  Symbols out;
  for (const Symbols& piece : split_white_space(line)) out += (out.empty() ? U"" : U" ") + piece;
  return out;
}

Symbols punctuation_rules(const Symbols& line) {  // 13a, steps 5 to 9
  const auto no_digit = [](char32_t c) { return !is_digit(c); };
  const auto hyphen = [](char32_t c) { return c == U'-'; };
  Symbols out = surround(line, is_ascii_symbol);
  out = separate(out, no_digit, is_period_or_comma, U"", U" ");
  out = separate(out, is_period_or_comma, no_digit, U" ", U"");
  out = separate(out, is_digit, hyphen, U"", U" ");
  return join_split(out);
}

Symbols tokenize_13a(Symbols line) {
  static const std::pair<Symbols, Symbols> replacements[] = {
      {U"<skipped>", U""}, {U"-\n", U""},   {U"\n", U" "},  {U"&quot;", U"\""},
      {U"&amp;", U"&"},    {U"&lt;", U"<"}, {U"&gt;", U">"}};
  for (const auto& [from, to] : replacements)
    for (size_t at = 0; (at = line.find(from, at)) != Symbols::npos; at += to.size())
      line.replace(at, from.size(), to);
  return punctuation_rules(U" " + line + U" ");
}

Symbols tokenize_intl(const Symbols& line) {
  const auto no_number = in_category(~U_GC_N_MASK), punctuation = in_category(U_GC_P_MASK);
  Symbols out = separate(line, no_number, punctuation, U"", U" ");
  out = separate(out, punctuation, no_number, U" ", U"");
  return join_split(surround(out, in_category(U_GC_S_MASK)));
}

// Trimmed first: blanks are Chinese too, and a blank before a full stop would split it off.
Symbols tokenize_zh(Symbols line) {
  while (!line.empty() && is_white_space(static_cast<UChar32>(line.front()))) line.erase(0, 1);
  return punctuation_rules(surround(line, is_chinese));
}

Symbols tokenize_char(const Symbols& line) {
  Symbols out;
  for (const char32_t c : line) out += (out.empty() ? U"" : U" ") + Symbols{c};
  return out;
}

}  // namespace

std::string bleu_tokenize(const std::string& text, const BleuOptions& options) {
  Symbols line = decode_utf8(text);
  if (options.lower_case) line = lower_case(line);
  while (!line.empty() && is_white_space(static_cast<UChar32>(line.back()))) line.pop_back();
  const std::string& name = options.tokenizer;
  if (name == "13a") return encode_utf8(tokenize_13a(line));
  if (name == "intl") return encode_utf8(tokenize_intl(line));
  if (name == "zh") return encode_utf8(tokenize_zh(line));
  if (name == "char") return encode_utf8(tokenize_char(line));
  user_check(name == "none",
             concat("BLEU tokenizer '", name, "' is not one of 13a, intl, zh, char, none"));
  return encode_utf8(line);
}

}  // namespace switchyard
