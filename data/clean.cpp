#include "data/clean.h"

#include <unicode/uscript.h>
#include <xxhash.h>

#include <array>
#include <unordered_set>

namespace switchyard {
namespace {

bool is_letter(UChar32 c) { return c >= 0 && u_isalpha(c); }
bool is_word(UChar32 c) { return c >= 0 && (u_isalnum(c) || c == '_'); }
bool ascii_word(char c) { return is_word(static_cast<unsigned char>(c)) || (c & 0x80); }

bool starts_with(std::string_view text, std::string_view head) {
  return text.substr(0, head.size()) == head;
}
bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// reST: inline markup starts after white space or an opening mark and ends before white space or punctuation.
bool may_open(std::string_view s, size_t i) {
  return i == 0 || contains(" ('\"<[{-/:", s.substr(i - 1, 1));
}
bool may_close(std::string_view s, size_t after) {
  return after >= s.size() || !ascii_word(s[after]);
}

// Position of `mark` that closes inline markup whose content starts at `from`; npos when there is none.
size_t closing(std::string_view s, size_t from, std::string_view mark) {
  if (from >= s.size() || s[from] == ' ') return std::string_view::npos;
  for (size_t at = s.find(mark, from + 1); at != std::string_view::npos;
       at = s.find(mark, at + 1)) {
    if (s[at - 1] != ' ' && s[at - 1] != '\\') return at;
  }
  return std::string_view::npos;
}

// Visible text of `inner`, the content of single backquotes. role: written as :role:`inner`.
std::string visible_text(std::string_view inner, bool role) {
  const size_t open = inner.rfind('<');
  if (inner.size() > 2 && inner.back() == '>' && open != std::string_view::npos && open > 0) {
    return collapse_space(inner.substr(0, open));  // title <target>
  }
  if (role && starts_with(inner, "!")) inner.remove_prefix(1);
  if (role && starts_with(inner, "~")) {
    const size_t dot = inner.rfind('.');
    inner.remove_prefix(dot == std::string_view::npos ? 1 : dot + 1);
  }
  return std::string(inner);
}

// Removes a trailing ":role:" from what was written so far; true when there was one.
bool take_role(std::string& out) {
  if (out.size() < 3 || out.back() != ':') return false;
  size_t begin = out.size() - 1;
  while (begin > 0 && (ascii_word(out[begin - 1]) || contains(":+.-", out.substr(begin - 1, 1))))
    --begin;
  if (out[begin] != ':' || begin + 2 > out.size() - 1) return false;
  out.erase(begin);
  return true;
}

}  // namespace

std::string collapse_space(std::string_view text) {
  std::string out;
  bool space = false;
  for_each_code_point(text, [&](UChar32 c) {
    // u_isUWhiteSpace: also U+00A0, U+2028, ...; U+001C..001F are separators to text tools as well
    if (c >= 0 && (u_isUWhiteSpace(c) || (c >= 0x1C && c <= 0x1F))) {
      space = true;
    } else if (c >= 0) {
      if (space && !out.empty()) out += ' ';
      space = false;
      append_utf8(out, c);
    }
  });
  if (out.ends_with(" ::")) out.resize(out.size() - 3);
  else if (out.ends_with("::")) out.pop_back();
  return out;
}

std::string unwrap_markup(std::string_view s) {
  constexpr size_t none = std::string_view::npos;
  std::string out;
  size_t i = 0;
  while (i < s.size()) {
    const char c = s[i];
    const std::string_view rest = s.substr(i);
    if (c == '\\' && rest.size() > 1 && contains("*_`|<>", rest.substr(1, 1))) {
      out += rest[1], i += 2;
    } else if (starts_with(rest, "``") && closing(s, i + 2, "``") != none) {
      const size_t end = closing(s, i + 2, "``");
      out += s.substr(i + 2, end - i - 2), i = end + 2;
    } else if (c == '`' && closing(s, i + 1, "`") != none) {
      const size_t end = closing(s, i + 1, "`");
      const bool role = take_role(out);
      out += visible_text(s.substr(i + 1, end - i - 1), role);
      i = end + 1;
      while (i < s.size() && s[i] == '_' && i < end + 3) ++i;  // `link`_ and `link`__
    } else if (c == '*' && may_open(s, i)) {
      const std::string_view mark = rest.substr(0, starts_with(rest, "**") ? 2 : 1);
      const size_t end = closing(s, i + mark.size(), mark);
      if (end != none && may_close(s, end + mark.size())) {
        out += unwrap_markup(s.substr(i + mark.size(), end - i - mark.size())),
            i = end + mark.size();
      } else {
        out += mark, i += mark.size();
      }
    } else if (c == '|' && may_open(s, i) && closing(s, i + 1, "|") != none &&
               may_close(s, closing(s, i + 1, "|") + 1)) {
      i = closing(s, i + 1, "|") + 1;  // |substitution|
      while (i < s.size() && s[i] == '_') ++i;
    } else if (c == '[' && rest.find("]_") != none &&
               !contains(rest.substr(0, rest.find("]_")), " ")) {
      i += rest.find("]_") + 2;  // [1]_, [#note]_, [CIT2002]_
    } else {
      out += c, ++i;
    }
  }
  return out;
}

namespace {

constexpr std::string_view kMarks = "_&";

// Removes marks at the beginning of a word ("_File", "&File") and the form of scripts without such letters, "(_F)".
int strip_leading_marks(std::string& s) {
  constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  int removed = 0;
  std::string out;
  for (size_t i = 0; i < s.size(); ++i) {
    const std::string_view before = std::string_view(s).substr(i > 0 ? i - 1 : 0, 1);
    const size_t word_end = std::min(s.find_first_not_of(letters, i + 1), s.size());
    const bool letter = i + 1 < s.size() && (word_end > i + 1 || (s[i + 1] & 0x80));
    if (!contains(kMarks, s.substr(i, 1)) || !letter ||
        s.substr(word_end, 1) == ";") {  // "&amp;" stays
      out += s[i];
    } else if (before == "(" && word_end == i + 2 && s.substr(word_end, 1) == ")" && !out.empty()) {
      out.pop_back();
      while (!out.empty() && out.back() == ' ') out.pop_back();
      i += 2, ++removed;
    } else if (i == 0 || contains(" (\"'[", before)) {
      ++removed;
    } else {
      out += s[i];
    }
  }
  s = out;
  return removed;
}

// "E_xit": one mark between letters, when the other side had one too.
void strip_inner_mark(std::string& s) {
  const size_t at = s.find_first_of(kMarks);
  if (at == std::string::npos || s.find_first_of(kMarks, at + 1) != std::string::npos) return;
  if (at > 0 && at + 1 < s.size() && ascii_word(s[at - 1]) && ascii_word(s[at + 1])) s.erase(at, 1);
}

enum class Shape { Latin, EastAsian, Other };  // classes of the length ratio
struct Writing {
  const char* lang;
  Shape shape;
  std::array<UScriptCode, 3> scripts;
};
constexpr UScriptCode kNone = USCRIPT_INVALID_CODE;
constexpr Writing kWritings[] = {
    {"zh", Shape::EastAsian, {USCRIPT_HAN, kNone, kNone}},
    {"ja", Shape::EastAsian, {USCRIPT_HAN, USCRIPT_HIRAGANA, USCRIPT_KATAKANA}},
    {"ko", Shape::EastAsian, {USCRIPT_HANGUL, kNone, kNone}},
    {"uk", Shape::Other, {USCRIPT_CYRILLIC, kNone, kNone}},
    {"bg", Shape::Other, {USCRIPT_CYRILLIC, kNone, kNone}},
    {"ru", Shape::Other, {USCRIPT_CYRILLIC, kNone, kNone}},
    {"be", Shape::Other, {USCRIPT_CYRILLIC, kNone, kNone}},
    {"mk", Shape::Other, {USCRIPT_CYRILLIC, kNone, kNone}},
    {"sr", Shape::Other, {USCRIPT_CYRILLIC, kNone, kNone}},
    {"el", Shape::Other, {USCRIPT_GREEK, kNone, kNone}},
    {"ar", Shape::Other, {USCRIPT_ARABIC, kNone, kNone}},
    {"fa", Shape::Other, {USCRIPT_ARABIC, kNone, kNone}},
    {"he", Shape::Other, {USCRIPT_HEBREW, kNone, kNone}},
    {"hi", Shape::Other, {USCRIPT_DEVANAGARI, kNone, kNone}},
    {"th", Shape::Other, {USCRIPT_THAI, kNone, kNone}},
    {"ka", Shape::Other, {USCRIPT_GEORGIAN, kNone, kNone}},
};

// zh_TW writes like zh, sr@latin does not write like sr. Languages that are not in the table count as Latin.
const Writing& writing_of(const std::string& lang) {
  static constexpr Writing latin = {"", Shape::Latin, {kNone, kNone, kNone}};
  const std::string base = lang.substr(0, lang.find_first_of("_-"));
  for (const Writing& w : kWritings) {
    if (base == w.lang) return w;
  }
  return latin;
}

struct Letters {
  int64_t characters = 0, visible = 0, letters = 0, in_script = 0;
};
Letters count_letters(std::string_view text, const Writing& writing) {
  Letters n;
  for_each_code_point(text, [&](UChar32 c) {
    ++n.characters;
    if (c < 0 || c == ' ') return;
    ++n.visible;
    n.letters += is_letter(c);
    UErrorCode status = U_ZERO_ERROR;
    const UScriptCode script = uscript_getScript(c, &status);
    for (UScriptCode s : writing.scripts) n.in_script += s != kNone && s == script;
  });
  return n;
}

// printf or brace placeholder: %s, %1$-5.2lf, %(name)s, {}, {name}
bool has_placeholder(std::string_view word) {
  const size_t open = word.find('{');
  if (open != std::string_view::npos && word.find('}', open) != std::string_view::npos) return true;
  for (size_t i = word.find('%'); i != std::string_view::npos; i = word.find('%', i + 1)) {
    size_t j = word.find_first_not_of("0123456789$#+-.*' ", i + 1);
    if (j == std::string_view::npos) return false;
    if (word[j] == '(' || is_letter(static_cast<unsigned char>(word[j]) & 0x7F)) return true;
  }
  return false;
}

// More than half of the purely alphabetic words of `other` also occur in the English (case folded).
bool mostly_english(std::string_view english, std::string_view other) {
  const auto folded = [](std::string_view word) {  // empty: not purely alphabetic
    std::string out;
    bool letters = true;
    for_each_code_point(word, [&](UChar32 c) {
      letters &= is_letter(c);
      if (c >= 0) append_utf8(out, u_foldCase(c, U_FOLD_CASE_DEFAULT));
    });
    return letters ? out : std::string();
  };
  std::unordered_set<std::string> known;
  for (std::string_view w : split_words(english)) known.insert(folded(w));
  known.erase("");
  int64_t words = 0, shared = 0;
  for (std::string_view w : split_words(other)) {
    const std::string f = folded(w);
    words += !f.empty();
    shared += known.contains(f);
  }
  return 2 * shared > words;
}

}  // namespace

void strip_mnemonics(std::string& english, std::string& other) {
  const int a = strip_leading_marks(english), b = strip_leading_marks(other);
  if (a > 0 && b == 0) strip_inner_mark(other);
  if (b > 0 && a == 0) strip_inner_mark(english);
}

const char* clean_pair(std::string& english, std::string& other, const std::string& lang) {
  const Writing& writing = writing_of(lang);
  for (std::string* side : {&english, &other})
    *side = collapse_space(unwrap_markup(collapse_space(*side)));
  strip_mnemonics(english, other);
  if (english == other) return "translation equals the English";
  const auto words = split_words(english);
  if (words.size() < 3) return "English under 3 words";
  if (words.size() > 80) return "English over 80 words";
  const Letters en = count_letters(english, writing), xx = count_letters(other, writing);
  if (en.characters > 500) return "English over 500 characters";
  if (xx.characters > 600) return "translation over 600 characters";
  for (const std::string* side : {&english, &other}) {
    if (contains(*side, "://") || contains(*side, "www.")) return "URL";
    if (contains(*side, ">>>")) return "code";
    if (starts_with(*side, ".. ") || contains(*side, " .. ")) return "directive line";
    if (contains(*side, "`")) return "unbalanced backquote";
  }
  if (10 * en.letters < 6 * en.visible) return "under 60 % letters";
  int64_t placeholders = 0;
  for (std::string_view w : words) placeholders += has_placeholder(w);
  if (2 * placeholders >= int64_t(words.size())) return "mostly placeholders";
  if (writing.scripts[0] != kNone && 5 * xx.in_script < xx.visible) return "wrong script";
  const double ratio = double(xx.characters) / double(en.characters);
  const double low[] = {0.45, 0.12, 0.4}, high[] = {2.4, 2.2, 2.5};
  if (ratio < low[int(writing.shape)] || ratio > high[int(writing.shape)]) return "length ratio";
  if (writing.shape == Shape::Latin && mostly_english(english, other))
    return "mostly English words";
  return nullptr;
}

std::string normalized_key(std::string_view english) {
  std::string out;
  bool gap = false, in_digits = false;
  for_each_code_point(english, [&](UChar32 c) {
    if (!is_word(c)) {
      gap = true, in_digits = false;
      return;
    }
    if (gap && !out.empty()) out += ' ';
    gap = false;
    const bool digit = u_isdigit(c);
    if (!digit) append_utf8(out, u_tolower(c));
    else if (!in_digits) out += '0';
    in_digits = digit;
  });
  return out;
}

Split split_of(const std::string& key) {
  // XXH3 where the data set notes say md5: any fixed function of the key serves, and this library is here already.
  const uint64_t bucket = XXH3_64bits(key.data(), key.size()) % 1000;
  return bucket < 40    ? Split::Valid
         : bucket < 120 ? Split::Test
         : bucket < 200 ? Split::Extra
                        : Split::Train;
}

bool is_plain_prose(std::string_view english) {
  if (english.find_first_of("%{}<>=/\\'\"|[]") != std::string_view::npos || contains(english, "--"))
    return false;
  int64_t capitals = 0;  // letters of the current word, -1: it has a lower-case letter
  bool plain = true;
  for_each_code_point(english, [&](UChar32 c) {
    plain &= !u_isdigit(c);
    if (!is_letter(c)) capitals = 0;
    else if (!u_isupper(c)) capitals = -1;
    else if (capitals >= 0) ++capitals;
    plain &= capitals < 2;
  });
  return plain;
}

}  // namespace switchyard
