// Message catalogues: what is read, what is counted, and that no byte string can do harm.
#include "data/text_files.h"
#include "temp_folder.h"
#include "tensor/rng.h"

namespace switchyard {
namespace {

using Entries = std::vector<std::pair<std::string, std::string>>;

std::string u32(uint32_t v, bool big) {
  std::string out;
  for (int i = 0; i < 4; ++i) out += char(v >> (big ? 24 - 8 * i : 8 * i));
  return out;
}

std::string make_mo(const Entries& entries, bool big = false) {
  const uint32_t n = uint32_t(entries.size());
  std::string tables[2], strings;
  const uint32_t first = 28 + 16 * n;
  for (int side = 0; side < 2; ++side) {
    for (const auto& e : entries) {
      const std::string& s = side == 0 ? e.first : e.second;
      tables[side] += u32(uint32_t(s.size()), big) + u32(first + uint32_t(strings.size()), big);
      strings += s + '\0';
    }
  }
  return u32(0x950412de, big) + u32(0, big) + u32(n, big) + u32(28, big) + u32(28 + 8 * n, big) +
         u32(0, big) + u32(0, big) + tables[0] + tables[1] + strings;
}

const Entries kEntries = {
    {"", "Language: fr\nContent-Type: text/plain; charset=UTF-8\n"},
    {"cannot open file", "impossible d'ouvrir le fichier"},
    {std::string("%d file\0%d files", 16), std::string("%d fichier\0%d fichiers", 22)},
    {std::string("menu\4Save the file"), "Enregistrer le fichier"},
    {"not yet done", ""},
    {"broken bytes here", "caf\xe9"},
};

TEST(Mo, ReadsBothByteOrdersAndCountsTheRest) {
  for (bool big : {false, true}) {
    Counts skipped;
    const auto messages = read_mo(make_mo(kEntries, big), skipped);
    ASSERT_EQ(messages.size(), 2u);
    EXPECT_EQ(messages[0].first, "cannot open file");
    EXPECT_EQ(messages[0].second, "impossible d'ouvrir le fichier");
    EXPECT_EQ(messages[1].first, "Save the file");  // without its context
    const Counts expected = {
        {"header", 1}, {"plural form", 1}, {"not translated", 1}, {"invalid characters", 1}};
    EXPECT_EQ(skipped, expected);
  }
}

TEST(Mo, ConvertsTheHeadersCharset) {
  Entries e = kEntries;
  e[0].second = "Content-Type: text/plain; charset=ISO-8859-1\n";
  Counts skipped;
  const auto messages = read_mo(make_mo(e), skipped);
  ASSERT_EQ(messages.size(), 3u);
  EXPECT_EQ(messages[2].second, "café");
  e[0].second = "charset=KLINGON-7\n";
  EXPECT_NE(user_error([&] { read_mo(make_mo(e), skipped); }).find("KLINGON-7"), std::string::npos);
}

TEST(Mo, EveryTruncationIsRefused) {
  const std::string whole = make_mo(kEntries);
  for (size_t n = 0; n < whole.size(); ++n) {
    Counts skipped;
    EXPECT_THROW(read_mo(whole.substr(0, n), skipped), UserError) << n;
  }
}

TEST(Mo, FlippedBytesDoNoHarm) {
  RandomSequence random(random_stream(3, "test/mo"));
  for (int round = 0; round < 20000; ++round) {
    std::string bytes = make_mo(kEntries, round % 2);
    for (int k = int(random.below(4)); k >= 0; --k) {
      const uint64_t range =
          random.below(2) ? 28 + 16 * kEntries.size() : bytes.size();  // often in the tables
      bytes[random.below(range)] = char(random.bits());
    }
    Counts skipped;
    try {
      for (const TextPair& m : read_mo(bytes, skipped)) {
        ASSERT_TRUE(valid_utf8(m.first) && valid_utf8(m.second));
        ASSERT_FALSE(m.first.empty() || m.second.empty());
      }
    } catch (const UserError&) {
    }
  }
}

TEST(Mo, OverlappingStringsCannotMultiplyTheFile) {
  // 5000 entries that all point at the same 40 kB: 400 MB of strings out of a 120 kB file
  const uint32_t n = 5000, at = 28 + 16 * n, length = 40000;
  std::string bytes = u32(0x950412de, false) + u32(0, false) + u32(n, false) + u32(28, false) +
                      u32(28 + 8 * n, false) + u32(0, false) + u32(0, false);
  for (uint32_t i = 0; i < 2 * n; ++i) bytes += u32(length, false) + u32(at, false);
  bytes += std::string(length, 'x') + '\0';
  Counts skipped;
  EXPECT_NE(user_error([&] { read_mo(bytes, skipped); }).find("overlap"), std::string::npos);
}

const char* kPo = R"(# a comment
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\n"

#: file.c:3
msgid "first "
"message\n"
msgstr "premier \"message\"\t\\\n"

#, fuzzy, c-format
msgid "a fuzzy one"
msgstr "flou"

#| msgid "previous"
msgctxt "menu"
msgid "with context"
msgstr "avec contexte"
msgid "no blank line before"
msgstr "sans ligne vide"

msgid "%d file"
msgid_plural "%d files"
msgstr[0] "%d fichier"
msgstr[1] "%d fichiers"

msgid "untranslated"
msgstr ""

msgid "unbalanced
msgstr "oubli"

#~ msgid "old"
#~ msgstr "vieux"
)";

TEST(Po, ReadsWhatTheRulesKeep) {
  Counts skipped;
  const auto messages = read_po(kPo, skipped);
  ASSERT_EQ(messages.size(), 3u);
  EXPECT_EQ(messages[0].first, "first message\n");
  EXPECT_EQ(messages[0].second, "premier \"message\"\t\\\n");
  EXPECT_EQ(messages[1].first, "with context");
  EXPECT_EQ(messages[2].second, "sans ligne vide");
  const Counts expected = {{"header", 1},         {"fuzzy", 1},           {"plural form", 1},
                           {"not translated", 1}, {"malformed entry", 1}, {"obsolete", 1}};
  EXPECT_EQ(skipped, expected);
}

TEST(Po, TruncatedAndFlippedDoNoHarm) {
  const std::string whole = kPo;
  RandomSequence random(random_stream(4, "test/po"));
  for (size_t n = 0; n < whole.size(); ++n) {
    std::string flipped = whole;
    flipped[n] = char(random.bits());
    for (const std::string& bytes : {whole.substr(0, n), flipped}) {
      Counts skipped;
      try {
        for (const TextPair& m : read_po(bytes, skipped))
          ASSERT_TRUE(valid_utf8(m.first) && valid_utf8(m.second));
      } catch (const UserError&) {
      }
    }
  }
}

TEST(Catalogues, FirstOccurrenceWinsAndIsoListsStayOut) {
  TempFolder folder;
  folder.write("fr/LC_MESSAGES/a.mo", make_mo({{"the same text", "le premier"}}));
  folder.write("fr/LC_MESSAGES/b.mo",
               make_mo({{"the same text", "le second"}, {"another text", "un autre"}}));
  folder.write("fr/LC_MESSAGES/iso_639.mo", make_mo({{"Old High German", "vieux haut allemand"}}));
  folder.write("fr/LC_MESSAGES/damaged.mo", make_mo(kEntries).substr(0, 60));
  folder.write("fr.po", "msgid \"from po\"\nmsgstr \"de po\"\n");
  const auto found = find_catalogues(folder.path.string());
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found.at("fr").size(), 4u);
  Counts skipped;
  const auto messages = read_catalogues(found.at("fr"), skipped);
  ASSERT_EQ(messages.size(), 3u);
  EXPECT_EQ(messages[1].second, "le premier");
  const Counts expected = {{"unusable file", 1}, {"repeated message", 1}};
  EXPECT_EQ(skipped, expected);
}

TEST(Catalogues, EmptyOrMissingFolderIsOneClearLine) {
  TempFolder folder;
  EXPECT_NE(
      user_error([&] { find_catalogues(folder.path.string()); }).find("no message catalogues"),
      std::string::npos);
  EXPECT_NE(user_error([&] { find_catalogues(folder / "none"); }).find("no such folder"),
            std::string::npos);
}

}  // namespace
}  // namespace switchyard
