// Text files, tokenizer, vocabulary and the corpus file.
#include <archive.h>
#include <archive_entry.h>

#include "data/bitext_builder.h"
#include "temp_folder.h"
#include "tensor/hdf5.h"
#include "tensor/parallel.h"
#include "tensor/rng.h"

namespace switchyard {
namespace {

std::vector<std::string> sentences(int n, uint64_t seed) {
  RandomSequence random(random_stream(seed, "test/sentences"));
  const char* words[] = {"stone",  "river",  "walked",   "über",   "the",
                         "garden", "slowly", "mountain", "étoile", "sang"};
  std::vector<std::string> lines;
  for (int i = 0; i < n; ++i) {
    std::string line;
    for (int k = 0; k < 6; ++k)
      line += std::string(k ? " " : "") + words[random.below(10)] + char('a' + random.below(26));
    lines.push_back(line);
  }
  return lines;
}

TEST(TextFiles, CompressedAndPlainAreTheSame) {
  TempFolder folder;
  const std::string text = "one line\nsecond\u2028line\u0085 here\n\nlast without end";
  folder.write("plain", text);
  for (const auto& [name, add] : {std::pair("x.gz", &archive_write_add_filter_gzip),
                                  std::pair("x.zst", &archive_write_add_filter_zstd),
                                  std::pair("x.xz", &archive_write_add_filter_xz)}) {
    archive* a = archive_write_new();
    archive_write_set_format_raw(a);
    add(a);
    ASSERT_EQ(archive_write_open_filename(a, (folder / name).c_str()), ARCHIVE_OK);
    archive_entry* e = archive_entry_new();
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_pathname(e, "x");
    archive_write_header(a, e);
    archive_write_data(a, text.data(), text.size());
    archive_entry_free(e);
    archive_write_free(a);
    EXPECT_EQ(read_file(folder / name), text);
    const std::string bytes = file_bytes(folder / name);
    folder.write("cut", bytes.substr(0, bytes.size() / 2));
    EXPECT_NE(user_error([&] { read_file(folder / "cut"); }).find("cut"), std::string::npos)
        << name;
  }
  EXPECT_EQ(read_file(folder / "plain"), text);
  EXPECT_EQ(split_at(text, '\n').size(), 4u);
  EXPECT_EQ(read_file(folder.write("empty", "")), "");
}

TEST(TextFiles, BadInput) {
  TempFolder folder;
  Counts skipped;
  const std::string a = folder.write("a", "one\ntwo\nthree\n");
  const std::string message =
      user_error([&] { read_aligned(a, folder.write("b", "eins\nzwei\n"), skipped); });
  for (const char* part : {"/a has 3", "/b has 2"})
    EXPECT_NE(message.find(part), std::string::npos) << message;
  EXPECT_NE(
      user_error([&] { read_aligned(a, folder.write("c", ""), skipped); }).find("/c is empty"),
      std::string::npos);
  EXPECT_NE(user_error([&] { read_aligned(a, folder / "none", skipped); }).find("/none"),
            std::string::npos);
  EXPECT_NE(user_error([&] { read_aligned(a, folder.path.string(), skipped); }).find("folder"),
            std::string::npos);
  std::string huge;
  for (int i = 0; i < 100000; ++i) huge += "word ";
  const std::string x = folder.write(
      "x", "good\r\n\nnul" + std::string(1, '\0') + "byte\n" + huge + "\nbad \xff\nlast\n");
  const std::string y = folder.write("y", "1\n2\n3\n4\n5\n \n");
  const auto pairs = read_aligned(x, y, skipped);
  ASSERT_EQ(pairs.size(), 1u);
  EXPECT_EQ(pairs[0], TextPair("good", "1"));
  const Counts expected = {
      {"NUL byte", 1}, {"empty line", 2}, {"invalid UTF-8", 1}, {"line too long", 1}};
  EXPECT_EQ(skipped, expected);
}

class TokenizerTest : public ::testing::TestWithParam<const char*> {};

TEST_P(TokenizerTest, VocabularyOfTheSpec) {
  Counts skipped;
  const TokenizerOptions options{100, GetParam()};
  const auto lines = sentences(300, 1);
  const std::string model = train_sentencepiece(lines, options, skipped);
  EXPECT_EQ(model, train_sentencepiece(lines, options, skipped));
  const std::vector<std::string> words = make_vocabulary(model, {"fr", "en"});
  // 4 specials + 97 pieces (without SentencePiece's own three), filled up to 104, then the languages
  ASSERT_EQ(words.size(), 106u);
  EXPECT_EQ(words[0], "<s>");
  EXPECT_EQ(words[1], "<pad>");
  EXPECT_EQ(words[2], "</s>");
  EXPECT_EQ(words[3], "<unk>");
  EXPECT_EQ(words[101], "madeupword0000");
  EXPECT_EQ(words[104], "__fr__");
  EXPECT_EQ(words[105], "__en__");
  const Tokenizer tokenizer(model, words);
  EXPECT_EQ(tokenizer.language_token("en"), 105);
  EXPECT_NE(user_error([&] { tokenizer.language_token("frr"); }).find("did you mean fr"),
            std::string::npos);
  for (const std::string& line : sentences(20, 1)) {
    std::vector<int32_t> ids = tokenizer.encode(line);
    for (int32_t id : ids) EXPECT_TRUE(id > kUnk && id < 101);
    ids.insert(ids.begin(), 105);
    ids.push_back(kEos), ids.push_back(kPad), ids.push_back(102);
    EXPECT_EQ(tokenizer.decode(ids), line);
  }
  EXPECT_EQ(tokenizer.encode("stone 漢")[tokenizer.encode("stone 漢").size() - 1], kUnk);
  EXPECT_TRUE(tokenizer.encode("").empty());
  EXPECT_EQ(tokenizer.decode({}), "");
  EXPECT_ANY_THROW(tokenizer.decode(std::vector<int32_t>{106}));
  EXPECT_NE(user_error([&] {
              train_sentencepiece(lines, {50000, GetParam()}, skipped);
            }).find("supports at most"),
            std::string::npos);
  EXPECT_NE(user_error([&] {
              train_sentencepiece(lines, {12, GetParam()}, skipped);
            }).find("at least"),
            std::string::npos);
  EXPECT_TRUE(skipped.empty());
  std::vector<std::string> with_long = lines;
  with_long.push_back(std::string(5000, 'x'));
  EXPECT_EQ(train_sentencepiece(with_long, options, skipped), model);
  EXPECT_EQ(skipped.at("line too long to train the tokenizer"), 1);
}
INSTANTIATE_TEST_SUITE_P(Models, TokenizerTest, ::testing::Values("unigram", "bpe"));

TEST(TokenizerFiles, ForeignModelsAreRefused) {
  Counts skipped;
  const std::string model = train_sentencepiece(sentences(300, 1), {100, "bpe"}, skipped);
  auto words = make_vocabulary(model, {"en"});
  EXPECT_THROW(Tokenizer("not a model", words), UserError);
  auto other = words;
  other[50] = "something else";
  EXPECT_THROW(Tokenizer(model, other), UserError);
  std::swap(words[0], words[1]);
  EXPECT_THROW(Tokenizer(model, words), UserError);
}

// A small bitext file, made with so many threads.
std::string make_corpus(const TempFolder& folder, const std::string& name, int threads) {
  set_num_threads(threads);
  std::vector<RawBitext> raw = {{{"en", "fr"}, {}, {}}, {{"en", "sv"}, {}, {}}};
  for (size_t b = 0; b < 2; ++b) {
    for (size_t s = 0; s < 3; ++s) {
      const auto x = sentences(s == 0 ? 200 : 20, 10 * b + s),
                 y = sentences(s == 0 ? 200 : 20, 100 * b + s + 7);
      for (size_t i = 0; i < x.size(); ++i) raw[b].splits[s].push_back({x[i], y[i]});
    }
  }
  std::vector<std::string> lines;
  for (const TextPair& p : raw[0].splits[0]) lines.push_back(p.first);
  Counts skipped = {{"empty line", 3}};
  const std::string model = train_sentencepiece(lines, {100, "unigram"}, skipped);
  const std::vector<std::string> langs = {"fr", "sv", "en"};
  Tokenizer tokenizer(model, make_vocabulary(model, langs));
  auto bitexts = encode_bitexts(raw, tokenizer);
  write_corpus(folder / name, TranslationSource(name, langs, tokenizer, bitexts), skipped,
               "seed = 1\n");
  set_num_threads(1);
  return folder / name;
}

TEST(Corpus, RoundTripAndSameBytesAtAnyThreadCount) {
  TempFolder folder;
  const std::string a = make_corpus(folder, "a.h5", 1), b = make_corpus(folder, "b.h5", 2);
  EXPECT_EQ(file_bytes(a), file_bytes(b));
  const auto corpus = read_corpus(a);
  EXPECT_EQ(corpus->langs(), (std::vector<std::string>{"fr", "sv", "en"}));
  ASSERT_EQ(corpus->directions().size(), 4u);
  EXPECT_EQ(corpus->directions()[3].name(), "sv-en");
  EXPECT_EQ(corpus->size(Split::Train, 3), 200);
  EXPECT_EQ(corpus->size(Split::Test, 0), 20);
  EXPECT_EQ(corpus->size(Split::Extra, 0), 0);
  // both directions share the arrays, seen from the other side
  EXPECT_EQ(&corpus->source(Split::Train, 0), &corpus->target(Split::Train, 1));
  const auto text = sentences(20, 2);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(corpus->source(Split::Test, 0).text[size_t(i)], text[size_t(i)]);
    EXPECT_EQ(corpus->tokenizer().decode(corpus->source(Split::Test, 0)[i]), text[size_t(i)]);
  }
  EXPECT_TRUE(corpus->source(Split::Train, 0).text.empty());
}

TEST(Corpus, ForeignAndDamagedFilesAreRefusedByName) {
  TempFolder folder;
  EXPECT_NE(user_error([&] { read_corpus(folder / "none.h5"); }).find("none.h5"),
            std::string::npos);
  EXPECT_NE(user_error([&] { read_corpus(folder.write("text.h5", "hello")); }).find("text.h5"),
            std::string::npos);
  {
    Hdf5File foreign = Hdf5File::create(folder / "foreign.h5");
    foreign.write_bytes("/x", "1");
    foreign.close();
  }
  EXPECT_NE(
      user_error([&] { read_corpus(folder / "foreign.h5"); }).find("not a translation corpus"),
      std::string::npos);
  const std::string bytes = file_bytes(make_corpus(folder, "good.h5", 1));
  for (size_t cut : {size_t(0), size_t(100), bytes.size() / 2, bytes.size() - 1}) {
    EXPECT_NE(user_error([&] {
                read_corpus(folder.write("cut.h5", bytes.substr(0, cut)));
              }).find("cut.h5"),
              std::string::npos);
  }
  // a flip where tokens lie: found by the checksum or by a range check
  const auto whole = read_corpus(folder / "good.h5");
  const auto& tokens = whole->source(Split::Train, 2).tokens;
  const std::string needle(reinterpret_cast<const char*>(tokens.data()), 64);
  const size_t at = bytes.find(needle);
  ASSERT_NE(at, std::string::npos);
  for (size_t byte : {at, at + 3, at + 60}) {
    std::string flipped = bytes;
    flipped[byte] ^= 4;
    EXPECT_NE(user_error([&] { read_corpus(folder.write("flip.h5", flipped)); }).find("flip.h5"),
              std::string::npos);
  }
}

TEST(Corpus, UnwritableOutputLeavesNothing) {
  TempFolder folder;
  const auto source = read_corpus(make_corpus(folder, "good.h5", 1));
  for (const std::string& path : {folder / "no/such/x.h5", folder.path.string(), std::string()}) {
    const auto write = [&] { write_corpus(path, *source, {}, ""); };
    EXPECT_NE(user_error(write).find("--output"), std::string::npos);
    EXPECT_NE(user_error([&] { check_output(path); }).find("--output"), std::string::npos);
  }
  check_output(folder / "good.h5");  // may be replaced, and is not touched
  EXPECT_EQ(read_corpus(folder / "good.h5")->checksum(), source->checksum());
  const auto files = std::filesystem::directory_iterator(folder.path);
  EXPECT_EQ(std::distance(begin(files), end(files)), 1);
}

TEST(Corpus, InconsistentContentsAreRefused) {
  const Tokenizer tokenizer("",
                            make_vocabulary(std::vector<std::string>{"one", "two"}, {"aa", "bb"}));
  const auto with = [&](auto change) {
    Bitext b{{"aa", "bb"}, {}};
    for (auto& side : b.splits[0]) side.add({4, 5}), side.add({5});
    change(b);
    return TranslationSource("here", {"aa", "bb"}, tokenizer, {b});
  };
  with([](Bitext&) {});
  EXPECT_THROW(with([](Bitext& b) { b.splits[0][0].tokens[1] = 99; }), UserError);
  EXPECT_THROW(with([](Bitext& b) { b.splits[0][0].tokens[1] = -1; }), UserError);
  EXPECT_THROW(with([](Bitext& b) { b.splits[0][0].offsets = {0, 5, 3}; }), UserError);
  EXPECT_THROW(with([](Bitext& b) { b.splits[0][1].offsets = {}; }), UserError);
  EXPECT_THROW(with([](Bitext& b) { b.splits[0][1].add({4}); }), UserError);
  EXPECT_THROW(with([](Bitext& b) { b.langs[1] = "cc"; }), UserError);
}

}  // namespace
}  // namespace switchyard
