// Most rules are regular expressions (ICU's). None repeats a repetition, and those that try many lengths are bounded, so
// that hostile text takes linear time.
#include <unicode/locid.h>
#include <unicode/regex.h>
#include <unicode/uscript.h>
#include <xxhash.h>

#include <memory>
#include <set>

#include "data/bitext_builder.h"

namespace switchyard {
namespace {

using icu::UnicodeString;

// A pattern and what replaces it. Matching changes nothing in it, so threads share it.
struct Regex {
  // with: $n is what group n matched, nothing when it took no part
  explicit Regex(const char* pattern, const char* with = "") : with(UnicodeString::fromUTF8(with)) {
    UErrorCode status = U_ZERO_ERROR;
    compiled.reset(icu::RegexPattern::compile(UnicodeString::fromUTF8(pattern), 0, status));
    check(U_SUCCESS(status), concat("bad pattern ", pattern));
  }
  // Everything that matches, from left to right
  std::vector<UnicodeString> matches(const std::string& text) const {
    const UnicodeString wide = UnicodeString::fromUTF8(text);
    UErrorCode status = U_ZERO_ERROR;
    const std::unique_ptr<icu::RegexMatcher> matcher(compiled->matcher(wide, status));
    std::vector<UnicodeString> found;
    while (matcher->find()) found.push_back(matcher->group(status));
    return found;
  }
  std::shared_ptr<const icu::RegexPattern> compiled;
  UnicodeString with;
};
using Rules = std::vector<Regex>;

std::string rewritten(const std::string& text, const Rules& rules) {
  UnicodeString now = UnicodeString::fromUTF8(text);
  UErrorCode status = U_ZERO_ERROR;
  for (const Regex& rule : rules) {
    const std::unique_ptr<icu::RegexMatcher> matcher(rule.compiled->matcher(now, status));
    now = matcher->replaceAll(rule.with, status);
  }
  check(U_SUCCESS(status), u_errorName(status));
  std::string out;
  return now.toUTF8String(out);
}

// How a language is written: its scripts, and the range of the length ratio translation / English.
struct Writing {
  std::vector<UScriptCode> scripts;  // empty: Latin, or not known
  double shortest = 0.45, longest = 2.4;
};

// By ICU's tables: pt_BR -> Latin, ja -> Katakana, Hiragana, Han. gettext's sr@latin is not written like sr.
Writing writing_of(const std::string& lang) {
  // the underscore says that this is a locale: "yi" alone is a script
  const std::string locale = lang.substr(0, lang.find('@')) + "_";
  UScriptCode codes[8];
  UErrorCode status = U_ZERO_ERROR;
  const int32_t n = uscript_getCode(locale.c_str(), codes, 8, &status);
  if (n <= 0 || U_FAILURE(status) || codes[0] == USCRIPT_LATIN || lang.ends_with("latin"))
    return {};
  Writing w{{codes, codes + n}, 0.4, 2.5};
  for (const UScriptCode dense : {USCRIPT_HAN, USCRIPT_HANGUL})
    if (std::ranges::count(w.scripts, dense)) w.shortest = 0.12, w.longest = 2.2;
  return w;
}

// More than half of the purely alphabetic words of `other` also occur in the English.
bool mostly_english(const std::string& english, const std::string& other) {
  static const Regex word(R"((?<![^ ])\p{L}++(?![^ ]))");
  std::set<UnicodeString> known;
  for (UnicodeString& w : word.matches(english)) known.insert(w.foldCase());
  std::vector<UnicodeString> others = word.matches(other);
  const auto shared = [&](UnicodeString& w) { return known.contains(w.foldCase()); };
  return 2 * std::ranges::count_if(others, shared) > std::ssize(others);
}

}  // namespace

std::string collapse_space(const std::string& text) {
  static const Rules rules = {Regex(R"([\p{White_Space}\x{1C}-\x{1F}]++)", " "), Regex("^ | $"),
                              Regex(" ::$|:(?=:$)")};
  return rewritten(text, rules);
}

std::string unwrap_markup(const std::string& text) {
  // Inline markup begins after white space or an opening mark, no space is next to its marks inside, and it ends before
  // white space or punctuation.
  static const Rules rules = {
      Regex(R"((\\.|``[^`]++``))"  // kept for the next rule: escapes and literals
            // **strong** and *emphasis*
            R"(|(?<![^ ('"<\[{/:-])\*\*(?! )(?>(.{1,600}?)(?<![ \\])\*\*)(?![\w\P{ASCII}]))"
            R"(|(?<![^ ('"<\[{/:-])\*(?![ *])(?>(.{1,600}?)(?<![ \\])\*)(?![\w\P{ASCII}]))",
            "$1$2$3"),
      Regex(R"(\\([*_`|<>]))"                  // \* and other escaped marks
            R"(|``(?! )([^`]++)(?<![ \\])``)"  // ``literal``
            // :role:`title <target>` and `title <target>`_
            R"(|(?:(?<![\w:+.-]):[\w:+.-]{2,}+(?<=:))?`(?! )([^`<]+?) ?<[^`<>]*+>`_{0,2})"
            // :role:`name`, :role:`~package.name`, :role:`!name`
            R"(|(?<![\w:+.-]):[\w:+.-]{2,}+(?<=:)`(?! )!?(?:~(?:[^`]*\.)?)?([^`]++)(?<![ \\])`)"
            R"(|`(?! )([^`]++)(?<![ \\])`_{0,2})"  // `quoted` and `link`_
            // |substitution|
            R"(|(?<![^ ('"<\[{/:-])\|(?! )(?>.{1,600}?(?<![ \\])\|)(?![\w\P{ASCII}]))"
            R"(|\[[^\[\] ]*+\]_)",  // [1]_, [CIT2002]_
            "$1$2$3$4$5"),
  };
  return rewritten(text, rules);
}

void strip_mnemonics(std::string& english, std::string& other) {
  // "(_F)"; "_" or "&" before a word, but not "&amp;"
  static const Rules leading = {
      Regex(R"( ?\([_&][A-Za-z]\)|(?<![^ ("'\[])[_&](?=\p{L})(?![A-Za-z]*+;))")};
  // "E_xit": the only mark, when the other side had one too
  static const Rules inner = {
      Regex(R"(^([^_&]*+)(?<=[\w\P{ASCII}])[_&](?=[\w\P{ASCII}])([^_&]*+)$)", "$1$2")};
  const std::string a = rewritten(english, leading), b = rewritten(other, leading);
  const bool marked = a != english, other_marked = b != other;
  english = other_marked && !marked ? rewritten(a, inner) : a;
  other = marked && !other_marked ? rewritten(b, inner) : b;
}

const char* clean_pair(std::string& english, std::string& other, const std::string& lang) {
  static const std::pair<Regex, const char*> faults[] = {
      {Regex(R"(://|www\.)"), "URL"},
      {Regex(">>>"), "code"},
      {Regex(R"(^\.\. | \.\. )"), "directive line"},
      {Regex("`"), "unbalanced backquote"},
  };
  // a word with a printf or brace placeholder: %s, %1$-5.2lf, %(name)s, {}, {name}
  static const Regex placeholder(R"([^ ]*(?:\{[^} ]*\}|%[0-9$#+\-.*']*[(\p{L}])[^ ]*)");

  for (std::string* side : {&english, &other})
    *side = collapse_space(unwrap_markup(collapse_space(*side)));
  strip_mnemonics(english, other);
  if (english == other) return "translation equals the English";
  const int64_t words = std::ssize(split_words(english));
  if (words < 3) return "English under 3 words";
  if (words > 80) return "English over 80 words";
  const std::vector<UChar32> letters = code_points(english), other_letters = code_points(other);
  if (letters.size() > 500) return "English over 500 characters";
  if (other_letters.size() > 600) return "translation over 600 characters";
  for (const std::string* side : {&english, &other})
    for (const auto& [pattern, why] : faults)
      if (!pattern.matches(*side).empty()) return why;
  const auto visible = [](const std::vector<UChar32>& text) {
    return std::ssize(text) - std::ranges::count(text, ' ');
  };
  if (10 * std::ranges::count_if(letters, u_isalpha) < 6 * visible(letters))
    return "under 60 % letters";
  if (2 * std::ssize(placeholder.matches(english)) >= words) return "mostly placeholders";
  const Writing writing = writing_of(lang);
  const bool latin = writing.scripts.empty();
  const auto in_script = [&](UChar32 c) {
    UErrorCode status = U_ZERO_ERROR;
    return std::ranges::count(writing.scripts, uscript_getScript(c, &status)) > 0;
  };
  if (!latin && 5 * std::ranges::count_if(other_letters, in_script) < visible(other_letters))
    return "wrong script";
  const double ratio = double(other_letters.size()) / double(letters.size());
  if (ratio < writing.shortest || ratio > writing.longest) return "length ratio";
  if (latin && mostly_english(english, other)) return "mostly English words";
  return nullptr;
}

std::string normalized_key(const std::string& english) {
  static const Rules rules = {Regex(R"(\p{Nd}++)", "0"), Regex(R"([^\p{L}\p{Nd}_]++)", " "),
                              Regex("^ | $")};
  std::string lower;
  UnicodeString::fromUTF8(english).toLower(icu::Locale::getRoot()).toUTF8String(lower);
  return rewritten(lower, rules);
}

Split split_of(const std::string& key) {
  // XXH3 where the data set notes say md5: any fixed function of the key serves, and this library is here already.
  const uint64_t bucket = XXH3_64bits(key.data(), key.size()) % 1000;
  return bucket < 40    ? Split::Valid
         : bucket < 120 ? Split::Test
         : bucket < 200 ? Split::Extra
                        : Split::Train;
}

bool is_plain_prose(const std::string& english) {
  static const Regex other(R"([\p{Nd}%{}<>=/\\'"|\[\]]|--|(?<!\p{L})\p{Lu}{2})");
  return other.matches(english).empty();
}

}  // namespace switchyard
