// The cleaning rules of specs/data_sources.md, one by one, and splits without leakage.
#include <set>

#include "data/bitext_builder.h"
#include "temp_folder.h"

namespace switchyard {
namespace {

TEST(Clean, Space) {
  EXPECT_EQ(collapse_space("  a\t\n b\u00a0c\u2028 "), "a b c");
  EXPECT_EQ(collapse_space("Example ::"), "Example");
  EXPECT_EQ(collapse_space("Example::"), "Example:");
}

TEST(Clean, Markup) {
  const std::pair<const char*, const char*> cases[] = {
      {"see :func:`open` now", "see open now"},
      {"see :class:`~os.path.Name` now", "see Name now"},
      {"see :mod:`!json` now", "see json now"},
      {"see :ref:`the title <target>` now", "see the title now"},
      {"the ``literal`` text", "the literal text"},
      {"a `link <http://x.org>`_ here", "a link here"},
      {"a `plain`_ and `other`__ link", "a plain and other link"},
      {"a `quoted` word", "a quoted word"},
      {"**strong** and *weak* text", "strong and weak text"},
      {"use |name| here", "use  here"},
      {"a note [1]_ and [CIT2002]_ here", "a note  and  here"},
      {"an escaped \\*star\\_ here", "an escaped *star_ here"},
      {"2 * 3 * 4 stays", "2 * 3 * 4 stays"},
      {"a | b stays", "a | b stays"},
      {"open `a' for `b'", "open `a' for `b'"},
      {"*", "*"},
      {"`", "`"},
      {"", ""},
  };
  for (const auto& [in, out] : cases) EXPECT_EQ(unwrap_markup(in), out);
}

TEST(Clean, Mnemonics) {
  const auto strip = [](std::string a, std::string b) {
    strip_mnemonics(a, b);
    return a + "|" + b;
  };
  EXPECT_EQ(strip("_File menu", "_Datei"), "File menu|Datei");
  EXPECT_EQ(strip("&Open it", "Ö&ffnen"), "Open it|Öffnen");
  EXPECT_EQ(strip("Save _As", "保存 (_A)"), "Save As|保存");
  EXPECT_EQ(strip("unknown foo_bar", "okänd foo_bar"), "unknown foo_bar|okänd foo_bar");
  EXPECT_EQ(strip("a & b", "a & b"), "a & b|a & b");
  EXPECT_EQ(strip("x &lt; y", "x &lt; y"), "x &lt; y|x &lt; y");
}

TEST(Clean, DropRules) {
  const auto why = [](std::string english, std::string other, const std::string& lang) {
    const char* reason = clean_pair(english, other, lang);
    return std::string(reason ? reason : "kept");
  };
  const std::string en = "the file cannot be opened", fr = "impossible d'ouvrir le fichier";
  EXPECT_EQ(why(en, fr, "fr"), "kept");
  EXPECT_EQ(why(en, en, "fr"), "translation equals the English");
  EXPECT_EQ(why("two words", "deux mots", "fr"), "English under 3 words");
  std::string many = "a";
  for (int i = 0; i < 80; ++i) many += " a";
  EXPECT_EQ(why(many, fr, "fr"), "English over 80 words");
  const std::string long_word(170, 'x');
  EXPECT_EQ(why(long_word + " " + long_word + " " + long_word, fr, "fr"),
            "English over 500 characters");
  EXPECT_EQ(why(en, std::string(601, 'y'), "fr"), "translation over 600 characters");
  EXPECT_EQ(why("see https://x.org for this", fr, "fr"), "URL");
  EXPECT_EQ(why("type >>> print this", fr, "fr"), "code");
  EXPECT_EQ(why(".. note:: the whole text", fr, "fr"), "directive line");
  EXPECT_EQ(why("can't open `a' for reading", fr, "fr"), "unbalanced backquote");
  EXPECT_EQ(why("12345 67890 12345 ab", fr, "fr"), "under 60 % letters");
  EXPECT_EQ(why("file %s line %d", "le fichier %s ligne %d", "fr"), "mostly placeholders");
  EXPECT_EQ(why("{name} the {0} thing", "{name} la chose {0}", "fr"), "mostly placeholders");
  EXPECT_EQ(why(en, fr, "uk"), "wrong script");
  EXPECT_EQ(why(en, "не вдалося відкрити файл", "uk"), "kept");
  EXPECT_EQ(why(en, "无法打开文件", "zh_CN"), "kept");
  EXPECT_EQ(why(en, "ファイルを開けません", "ja"), "kept");
  EXPECT_EQ(why(en, "파일을 열 수 없습니다", "ko"), "kept");
  EXPECT_EQ(why(en, "δεν ανοίγει το αρχείο", "el"), "kept");
  EXPECT_EQ(why(en, "non", "fr"), "length ratio");
  EXPECT_EQ(why("the disk format type list", "le disk format type xxx", "fr"),
            "mostly English words");
}

TEST(Clean, KeyAndProse) {
  EXPECT_EQ(normalized_key("  The File 12,345 -- x64 \"Ünder\" "), "the file 0 0 x0 ünder");
  EXPECT_TRUE(is_plain_prose("A file was not found."));
  for (const char* text : {"5 files", "50%", "a {b}", "<tag>", "a=b", "a/b", "a\\b", "don't",
                           "\"x\"", "a|b", "[x]", "use -- here", "the HTTP server"}) {
    EXPECT_FALSE(is_plain_prose(text)) << text;
  }
}

TEST(Clean, SplitSharesOfKeys) {
  std::map<Split, int> count;
  for (int i = 0; i < 20000; ++i) ++count[split_of("sentence " + std::to_string(i))];
  EXPECT_NEAR(count[Split::Valid], 800, 120);
  EXPECT_NEAR(count[Split::Test], 1600, 160);
  EXPECT_NEAR(count[Split::Extra], 1600, 160);
  EXPECT_EQ(split_of("the file cannot be opened"), split_of("the file cannot be opened"));
}

// Three languages that share English sentences written a little differently.
void write_catalogues(const TempFolder& folder) {
  const char* words[] = {"red",   "green", "blue", "small", "large",
                         "quick", "slow",  "warm", "cold",  "plain"};
  for (const std::string lang : {"xa", "xb", "xc"}) {
    std::string po;
    for (int i = 0; i < 1000; ++i) {
      const std::string english = concat("The ", words[i % 10], " box ", words[i / 10 % 10],
                                         " and ", words[i / 100], lang == "xb" ? "!" : "");
      const std::string other =
          concat(lang, "la ", words[i % 10], lang, " boto", i % 400, " kaj vojo");
      if (lang == "xc" && i % 2) continue;
      po += concat("msgid \"", english, "\"\nmsgstr \"", other, "\"\n\n");
    }
    folder.write(lang + ".po", po);
  }
}

TEST(Splits, NothingLeaks) {
  TempFolder folder;
  write_catalogues(folder);
  const auto read = [&](const std::vector<std::string>& langs) {
    return read_gettext(folder.path.string(), langs, true, [](auto&) {}, {0, 10, 20, 20});
  };
  const auto bitexts = read({"xa", "xb", "xc"});
  std::map<std::string, int> split_of_key;
  for (const RawBitext& b : bitexts) {
    std::set<std::string> evaluation;
    for (size_t s = 1; s < 4; ++s) {
      EXPECT_FALSE(b.splits[s].empty());
      EXPECT_LE(b.splits[s].size(), s == 1 ? 10u : 20u);
      for (const TextPair& p : b.splits[s]) evaluation.insert(p.second);
    }
    EXPECT_GT(b.splits[0].size(), 100u);
    for (size_t s = 0; s < 4; ++s) {
      for (const TextPair& p : b.splits[s]) {
        const auto [it, fresh] = split_of_key.emplace(normalized_key(p.first), int(s));
        EXPECT_EQ(it->second, int(s)) << p.first;
        EXPECT_FALSE(s == 0 && evaluation.contains(p.second)) << p.second;
      }
    }
    EXPECT_GT(b.counts.at("above the cap of test"), 0);
    EXPECT_GT(b.counts.at("translation is an evaluation target"), 0);
  }
  // the sentences that all languages have come first: xc has only half of them, and all its choices are xa's as well
  std::set<std::string> xa;
  for (const TextPair& p : bitexts[0].splits[1]) xa.insert(normalized_key(p.first));
  for (const TextPair& p : bitexts[2].splits[1]) EXPECT_TRUE(xa.contains(normalized_key(p.first)));
  EXPECT_NE(user_error([&] { read({"xz"}); }).find("--langs xz"), std::string::npos);
}

}  // namespace
}  // namespace switchyard
