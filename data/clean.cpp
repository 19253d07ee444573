#include "data/clean.h"

#include <unicode/uscript.h>
#include <xxhash.h>

#include <unordered_set>

#include "tensor/check.h"

namespace switchyard {
namespace {

constexpr size_t kNone = std::string_view::npos;

bool is_word(UChar32 c) { return u_isalnum(c) || c == '_'; }
bool ascii_word(char c) { return is_word(static_cast<unsigned char>(c)) || (c & 0x80); }
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

// Position of the mark that closes the inline markup which `mark` opens at i; npos when there is none.
size_t closing(std::string_view s, size_t i, std::string_view mark) {
  const size_t from = i + mark.size();
  if (!s.substr(i).starts_with(mark) || from >= s.size() || s[from] == ' ') return kNone;
  size_t at = s.find(mark, from + 1);
  while (at != kNone && (s[at - 1] == ' ' || s[at - 1] == '\\')) at = s.find(mark, at + 1);
  return at;
}

// Visible text of `inner`, the content of single backquotes. role: written as :role:`inner`.
std::string visible_text(std::string_view inner, bool role) {
  const size_t open = inner.rfind('<');
  if (inner.ends_with('>') && open != kNone && open > 0)
    return collapse_space(inner.substr(0, open));  // title <target>
  if (role && inner.starts_with('!')) inner.remove_prefix(1);
  if (role && inner.starts_with('~')) {
    const size_t dot = inner.rfind('.');
    inner.remove_prefix(dot == kNone ? 1 : dot + 1);
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
    if (!is_white_space(c)) {
      if (space && !out.empty()) out += ' ';
      append_utf8(out, c);
    }
    space = is_white_space(c);
  });
  if (out.ends_with(" ::")) out.resize(out.size() - 3);
  else if (out.ends_with("::")) out.pop_back();
  return out;
}

std::string unwrap_markup(std::string_view s) {
  std::string out;
  size_t i = 0;
  while (i < s.size()) {
    const char c = s[i];
    const std::string_view rest = s.substr(i);
    const size_t note_end = c == '[' ? rest.find("]_") : kNone;
    if (c == '\\' && rest.size() > 1 && contains("*_`|<>", rest.substr(1, 1))) {
      out += rest[1], i += 2;
    } else if (const size_t end = closing(s, i, "``"); end != kNone) {
      out += s.substr(i + 2, end - i - 2), i = end + 2;
    } else if (const size_t end = closing(s, i, "`"); end != kNone) {
      const bool role = take_role(out);
      out += visible_text(s.substr(i + 1, end - i - 1), role);
      i = end + 1;
      while (i < s.size() && s[i] == '_' && i < end + 3) ++i;  // `link`_ and `link`__
    } else if (c == '*' && may_open(s, i)) {
      const std::string_view mark = rest.starts_with("**") ? "**" : "*";
      const size_t begin = i + mark.size(), end = closing(s, i, mark);
      const bool strong = end != kNone && may_close(s, end + mark.size());
      out += strong ? unwrap_markup(s.substr(begin, end - begin)) : std::string(mark);
      i = strong ? end + mark.size() : begin;
    } else if (const size_t end = closing(s, i, "|");
               end != kNone && may_open(s, i) && may_close(s, end + 1)) {
      i = std::min(s.find_first_not_of('_', end + 1), s.size());  // |substitution|
    } else if (note_end != kNone && !contains(rest.substr(0, note_end), " ")) {
      i += note_end + 2;  // [1]_, [#note]_, [CIT2002]_
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
    const std::string_view after = std::string_view(s).substr(word_end, 1);
    const bool mark = contains(kMarks, s.substr(i, 1)) && letter && after != ";";  // "&amp;" stays
    if (mark && before == "(" && word_end == i + 2 && after == ")" && !out.empty()) {
      out.pop_back();
      out.resize(out.find_last_not_of(' ') + 1);
      i += 2, ++removed;
    } else if (mark && (i == 0 || contains(" (\"'[", before))) {
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

// How languages that are not written in Latin script are told: one of the scripts, and the range of the length ratio.
struct Writing {
  std::string_view langs;
  double shortest, longest;  // translation / English, in characters
  std::vector<UScriptCode> scripts;
};

// zh_TW writes like zh, sr@latin does not write like sr. Languages that are not in the table count as Latin.
const Writing& writing_of(const std::string& lang) {
  static const Writing latin = {"", 0.45, 2.4, {}};
  static const Writing others[] = {
      {" zh ", 0.12, 2.2, {USCRIPT_HAN}},
      {" ja ", 0.12, 2.2, {USCRIPT_HAN, USCRIPT_HIRAGANA, USCRIPT_KATAKANA}},
      {" ko ", 0.12, 2.2, {USCRIPT_HANGUL}},
      {" uk bg ru be mk sr ", 0.4, 2.5, {USCRIPT_CYRILLIC}},
      {" el ", 0.4, 2.5, {USCRIPT_GREEK}},
      {" ar fa ", 0.4, 2.5, {USCRIPT_ARABIC}},
      {" he ", 0.4, 2.5, {USCRIPT_HEBREW}},
      {" hi ", 0.4, 2.5, {USCRIPT_DEVANAGARI}},
      {" th ", 0.4, 2.5, {USCRIPT_THAI}},
      {" ka ", 0.4, 2.5, {USCRIPT_GEORGIAN}},
  };
  const std::string base = concat(" ", lang.substr(0, lang.find_first_of("_-")), " ");
  for (const Writing& w : others) {
    if (contains(w.langs, base)) return w;
  }
  return latin;
}

struct Letters {
  int64_t characters = 0, visible = 0, letters = 0, in_script = 0;
};
Letters count_letters(std::string_view text, const Writing& writing) {
  Letters n;
  for_each_code_point(text, [&](UChar32 c) {
    UErrorCode status = U_ZERO_ERROR;
    ++n.characters;
    n.visible += c != ' ';
    n.letters += u_isalpha(c);
    n.in_script += std::ranges::count(writing.scripts, uscript_getScript(c, &status));
  });
  return n;
}

// printf or brace placeholder: %s, %1$-5.2lf, %(name)s, {}, {name}
bool has_placeholder(std::string_view word) {
  const size_t open = word.find('{');
  if (open != kNone && word.find('}', open) != kNone) return true;
  for (size_t i = word.find('%'); i != kNone; i = word.find('%', i + 1)) {
    const size_t j = word.find_first_not_of("0123456789$#+-.*' ", i + 1);
    if (j != kNone && (word[j] == '(' || u_isalpha(word[j] & 0x7F))) return true;
  }
  return false;
}

// More than half of the purely alphabetic words of `other` also occur in the English (case folded).
bool mostly_english(std::string_view english, std::string_view other) {
  const auto folded = [](std::string_view word) {  // empty: not purely alphabetic
    std::string out;
    bool letters = true;
    for_each_code_point(word, [&](UChar32 c) {
      letters &= bool(u_isalpha(c));
      append_utf8(out, u_foldCase(c, U_FOLD_CASE_DEFAULT));
    });
    return letters ? out : std::string();
  };
  std::unordered_set<std::string> known;
  for (std::string_view w : split_words(english)) known.insert(folded(w));
  int64_t balance = 0;
  for (std::string_view w : split_words(other)) {
    const std::string f = folded(w);
    if (!f.empty()) balance += known.contains(f) ? 1 : -1;
  }
  return balance > 0;
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
    if (side->starts_with(".. ") || contains(*side, " .. ")) return "directive line";
    if (contains(*side, "`")) return "unbalanced backquote";
  }
  if (10 * en.letters < 6 * en.visible) return "under 60 % letters";
  int64_t placeholders = 0;
  for (std::string_view w : words) placeholders += has_placeholder(w);
  if (2 * placeholders >= int64_t(words.size())) return "mostly placeholders";
  const bool latin = writing.scripts.empty();
  if (!latin && 5 * xx.in_script < xx.visible) return "wrong script";
  const double ratio = double(xx.characters) / double(en.characters);
  if (ratio < writing.shortest || ratio > writing.longest) return "length ratio";
  if (latin && mostly_english(english, other)) return "mostly English words";
  return nullptr;
}

std::string normalized_key(std::string_view english) {
  std::string out;
  bool gap = false, in_digits = false;
  for_each_code_point(english, [&](UChar32 c) {
    const bool word = is_word(c), digit = u_isdigit(c);
    if (word && gap && !out.empty()) out += ' ';
    if (word && !(digit && in_digits)) append_utf8(out, digit ? '0' : u_tolower(c));
    gap = !word, in_digits = digit;
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
  if (english.find_first_of("%{}<>=/\\'\"|[]") != kNone || contains(english, "--")) return false;
  int64_t capitals = 0;  // letters of the current word, -1: it has a lower-case letter
  bool plain = true;
  for_each_code_point(english, [&](UChar32 c) {
    plain &= !u_isdigit(c);
    if (!u_isalpha(c)) capitals = 0;
    else if (!u_isupper(c)) capitals = -1;
    else if (capitals >= 0) ++capitals;
    plain &= capitals < 2;
  });
  return plain;
}

}  // namespace switchyard
