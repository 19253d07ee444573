// The tokenisers of specs/bleu.md 2 and 3: substitutions over the whole line, one after another. A pair
// rule consumes both characters it matched, so they cannot take part in its next match.
#include <unicode/uchar.h>

#include <algorithm>

#include "apps/common/bleu.h"
#include "apps/common/score_text.h"
#include "tensor/check.h"

namespace switchyard {
namespace {

bool is_digit(char32_t c) { return c >= U'0' && c <= U'9'; }
bool is_period_or_comma(char32_t c) { return c == U'.' || c == U','; }
bool is_ascii_symbol(char32_t c) {  // without apostrophe, comma, hyphen, full stop
  return (c >= 0x20 && c <= 0x26) || (c >= 0x28 && c <= 0x2B) || c == 0x2F ||
         (c >= 0x3A && c <= 0x40) || (c >= 0x5B && c <= 0x60) || (c >= 0x7B && c <= 0x7E);
}
uint32_t category(char32_t c) { return U_GET_GC_MASK(static_cast<UChar32>(c)); }
bool is_number(char32_t c) { return category(c) & U_GC_N_MASK; }
bool is_punctuation(char32_t c) { return category(c) & U_GC_P_MASK; }
bool is_symbol(char32_t c) { return category(c) & U_GC_S_MASK; }

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

void replace_all(Symbols& line, const Symbols& from, const Symbols& to) {
  for (size_t at = 0; (at = line.find(from, at)) != Symbols::npos; at += to.size())
    line.replace(at, from.size(), to);
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
  replace_all(line, U"<skipped>", U"");
  replace_all(line, U"-\n", U"");
  replace_all(line, U"\n", U" ");
  replace_all(line, U"&quot;", U"\"");
  replace_all(line, U"&amp;", U"&");
  replace_all(line, U"&lt;", U"<");
  replace_all(line, U"&gt;", U">");
  return punctuation_rules(U" " + line + U" ");
}

Symbols tokenize_intl(const Symbols& line) {
  const auto no_number = [](char32_t c) { return !is_number(c); };
  Symbols out = separate(line, no_number, is_punctuation, U"", U" ");
  out = separate(out, is_punctuation, no_number, U" ", U"");
  return join_split(surround(out, is_symbol));
}

// Trimmed first: blanks are Chinese too, and a blank before a full stop would split it off.
Symbols tokenize_zh(Symbols line) {
  line.erase(line.begin(), std::find_if_not(line.begin(), line.end(), is_white_space));
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
  while (!line.empty() && is_white_space(line.back())) line.pop_back();
  const std::string& name = options.tokenizer;
  if (name == "13a") return encode_utf8(tokenize_13a(line));
  if (name == "intl") return encode_utf8(tokenize_intl(line));
  if (name == "zh") return encode_utf8(tokenize_zh(line));
  if (name == "char") return encode_utf8(tokenize_char(line));
  if (name == "none") return encode_utf8(line);
  // flores101 and flores200 name public models that are not part of this project
  user_check(
      name.rfind("spm-", 0) == 0 && options.pieces,
      concat(
          "BLEU tokenizer '", name,
          "' is not one of 13a, intl, zh, char, none, or spm-<name> with a SentencePiece model"));
  std::string out;
  for (const std::string& piece : options.pieces(encode_utf8(line)))
    out += (out.empty() ? "" : " ") + piece;
  return out;
}

}  // namespace switchyard
