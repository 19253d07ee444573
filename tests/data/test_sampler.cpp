// Batches as in specs/hmoe.md 4.2 and 4.3; the order of data is a pure function that can be entered anywhere.
#include "data/sampler.h"

#include <map>
#include <set>

#include "temp_folder.h"

namespace switchyard {
namespace {

// Two bitexts en-aa (n0 sentences) and en-bb (n1); word counts vary from 1 to 12.
std::shared_ptr<const TranslationSource> small_source(int n0, int n1) {
  const Tokenizer tokenizer(
      "", make_vocabulary(std::vector<std::string>{"w4", "w5", "w6", "w7"}, {"aa", "bb", "en"}));
  std::vector<Bitext> bitexts;
  for (const auto& [lang, n] : {std::pair("aa", n0), std::pair("bb", n1)}) {
    Bitext b{{"en", lang}, {}};
    for (int i = 0; i < n; ++i) {
      b.splits[0][0].add(std::vector<int32_t>(size_t(1 + i * 7 % 12), 4));
      b.splits[0][1].add(std::vector<int32_t>(size_t(1 + i * 5 % 12), 5));
    }
    for (int i = 0; i < 11; ++i) {
      b.splits[1][0].add(std::vector<int32_t>(size_t(1 + i), 6));
      b.splits[1][1].add(std::vector<int32_t>(size_t(12 - i), 7));
    }
    bitexts.push_back(b);
  }
  return std::make_shared<TranslationSource>(
      "test data", std::vector<std::string>{"aa", "bb", "en"}, tokenizer, bitexts);
}

DataConfig small_config() {
  DataConfig c;
  c.max_tokens = 64;
  c.required_batch_size_multiple = 1;
  return c;
}

using Key = std::vector<int64_t>;
Key key_of(const TranslationBatch& b) {
  Key key = {b.sentences, b.source_time, b.target_time};
  for (size_t i = 0; i < b.ids.size(); ++i) key.push_back(b.direction[i]), key.push_back(b.ids[i]);
  for (const Tensor& t : {b.source, b.decoder_input, b.target}) {
    const auto v = t.to_vector<int64_t>();
    key.insert(key.end(), v.begin(), v.end());
  }
  return key;
}

TEST(Batcher, PaddingAndLanguageTokensOfTheSpec) {
  // languages aa bb en: 4 specials + 4 words = 8, no filler, so __aa__ 8, __bb__ 9, __en__ 10
  const Tokenizer t(
      "", make_vocabulary(std::vector<std::string>{"w4", "w5", "w6", "w7"}, {"aa", "bb", "en"}));
  Bitext b{{"en", "aa"}, {}};
  b.splits[1][0].add({4, 5, 6}), b.splits[1][0].add({7});
  b.splits[1][1].add({5}), b.splits[1][1].add({6, 7});
  const auto source = std::make_shared<TranslationSource>(
      "x", std::vector<std::string>{"aa", "bb", "en"}, t, std::vector<Bitext>{b});
  DataConfig c = small_config();
  const SentenceList both = {{0, 0, 0}, {0, 1, 1}};
  TranslationBatch batch = Batcher(source, c, Split::Valid).build(both);
  EXPECT_EQ(batch.source.shape(), (Shape{2, 5}));
  EXPECT_EQ(batch.source.to_vector<int64_t>(),
            (std::vector<int64_t>{8, 4, 5, 6, 2, 1, 1, 8, 7, 2}));
  EXPECT_EQ(batch.target.to_vector<int64_t>(), (std::vector<int64_t>{8, 5, 2, 1, 8, 6, 7, 2}));
  EXPECT_EQ(batch.decoder_input.to_vector<int64_t>(),
            (std::vector<int64_t>{2, 8, 5, 1, 2, 8, 6, 7}));
  EXPECT_EQ(batch.target_tokens, 7);
  EXPECT_EQ(batch.source_tokens, 8);
  // the other direction of the same arrays, in a batch that mixes both
  batch = Batcher(source, c, Split::Valid).build({{1, 1, 1}, {0, 1, 1}});
  EXPECT_EQ(batch.source.to_vector<int64_t>(), (std::vector<int64_t>{10, 6, 7, 2, 1, 8, 7, 2}));
  EXPECT_EQ(batch.direction, (std::vector<int32_t>{1, 0}));
  c.encoder_langtok = "src";
  c.decoder_langtok = false;
  batch = Batcher(source, c, Split::Valid).build({{0, 0, 0}});
  EXPECT_EQ(batch.source.to_vector<int64_t>(), (std::vector<int64_t>{10, 4, 5, 6, 2}));
  EXPECT_EQ(batch.target.to_vector<int64_t>(), (std::vector<int64_t>{5, 2}));
  EXPECT_EQ(batch.decoder_input.to_vector<int64_t>(), (std::vector<int64_t>{2, 5}));
  c.encoder_langtok = "none";
  batch = Batcher(source, c, Split::Valid).build({{0, 0, 0}});
  EXPECT_EQ(batch.source.to_vector<int64_t>(), (std::vector<int64_t>{4, 5, 6, 2}));
  const std::vector<int32_t> word = {4};
  batch = make_batch(t, small_config(), {{word, {}, "en", "bb"}, {{}, {}, "en", "bb"}});
  EXPECT_EQ(batch.source.to_vector<int64_t>(), (std::vector<int64_t>{9, 4, 2, 1, 9, 2}));
  EXPECT_EQ(batch.target.to_vector<int64_t>(), (std::vector<int64_t>{9, 2, 9, 2}));
  const TranslationBatch dummy = Batcher(source, c, Split::Valid).build({});
  EXPECT_EQ(dummy.sentences, 0);
  EXPECT_EQ(dummy.source.shape(), (Shape{0, 0}));
}

TEST(Batcher, CutsByTokensAndMultiple) {
  const auto source = small_source(100, 40);
  DataConfig c = small_config();
  for (int64_t multiple : {1, 4}) {
    c.required_batch_size_multiple = multiple;
    const TrainIterator sampler(source, c, 1, 0, 1);
    int64_t sentences = 0, odd = 0;
    for (const SentenceList& list : sampler.epoch_batches(0)) {
      const TranslationBatch b = Batcher(source, c, Split::Train).build(list);
      EXPECT_GT(b.sentences, 0);
      EXPECT_LE(b.sentences * std::max(b.source_time, b.target_time), c.max_tokens);
      sentences += b.sentences;
      odd += b.sentences > multiple && b.sentences % multiple != 0;
    }
    EXPECT_EQ(sentences, 280);
    EXPECT_LE(odd, 1);  // the end of the list
  }
}

TEST(Sampler, EveryRankAndEpochCoversAllDataOnce) {
  const auto source = small_source(100, 40);
  for (int ranks : {1, 3, 8}) {
    std::vector<std::unique_ptr<TrainIterator>> iterators;
    for (int r = 0; r < ranks; ++r)
      iterators.push_back(std::make_unique<TrainIterator>(source, small_config(), 7, r, ranks));
    std::vector<Key> first_epoch;
    for (int64_t epoch = 0; epoch < 2; ++epoch) {
      std::map<std::pair<int32_t, int64_t>, int> seen;
      std::vector<Key> order;
      bool dummies = false;
      while (iterators[0]->position().epoch == epoch) {
        for (auto& it : iterators) {
          const TranslationBatch b = it->next();
          EXPECT_FALSE(dummies && b.sentences > 0);
          dummies |= b.sentences == 0;  // at the very end only
          for (size_t i = 0; i < b.ids.size(); ++i) ++seen[{b.direction[i], b.ids[i]}];
          order.push_back(key_of(b));
        }
        for (auto& it : iterators) EXPECT_EQ(it->position().batch, iterators[0]->position().batch);
      }
      EXPECT_EQ(seen.size(), 280u);
      for (const auto& [sentence, times] : seen) EXPECT_EQ(times, 1);
      EXPECT_NE(order, first_epoch);
      first_epoch = order;
    }
  }
}

TEST(Sampler, ResumeAtEveryPositionGivesTheSameBatches) {
  const auto source = small_source(60, 25);
  DataConfig c = small_config();
  c.sampling_method = "temperature";
  c.sampling_temperature = 3;
  for (int rank : {0, 1}) {
    std::vector<Key> whole;
    std::vector<DataPosition> after = {{}};
    TrainIterator it(source, c, 5, rank, 2);
    for (int i = 0; i < 60; ++i) {
      whole.push_back(key_of(it.next()));
      after.push_back(it.position());
    }
    EXPECT_GE(after.back().epoch, 2);
    for (size_t start = 0; start < 50; ++start) {
      TrainIterator resumed(source, c, 5, rank, 2, after[start]);
      EXPECT_EQ(resumed.position().batch, after[start].batch);  // prefetching does not move it
      for (size_t i = start; i < start + 3; ++i)
        EXPECT_EQ(key_of(resumed.next()), whole[i]) << start << " " << i;
      EXPECT_EQ(resumed.position().epoch, after[start + 3].epoch);
      EXPECT_EQ(resumed.position().batch, after[start + 3].batch);
    }
  }
}

TEST(Sampler, AnotherSeedIsAnotherOrder) {
  const auto source = small_source(60, 25);
  TrainIterator a(source, small_config(), 1, 0, 1), b(source, small_config(), 1, 0, 1),
      c(source, small_config(), 2, 0, 1);
  const Key x = key_of(a.next());
  EXPECT_EQ(x, key_of(b.next()));
  EXPECT_NE(x, key_of(c.next()));
}

TEST(Sampler, CountsFollowTheTemperature) {
  EXPECT_EQ(epoch_counts({1000, 10}, "concat", 5, 1, 0), (std::vector<int64_t>{1000, 10}));
  EXPECT_EQ(epoch_counts({1000, 10}, "temperature", 1, 1, 0), (std::vector<int64_t>{1000, 10}));
  // T = 2: ratio sqrt(100) = 10 : 1, the largest contributes all its 1000
  EXPECT_EQ(epoch_counts({1000, 10}, "temperature", 2, 1, 0), (std::vector<int64_t>{1000, 100}));
  // uniform would need 2000, more than 1.5 times the 1010 there are
  const auto uniform = epoch_counts({1000, 10}, "uniform", 1, 1, 0);
  EXPECT_EQ(uniform[0] + uniform[1], 1515);
  EXPECT_LE(std::abs(uniform[0] - uniform[1]), 1);
  EXPECT_EQ(epoch_counts({5, 0}, "uniform", 1, 1, 0), (std::vector<int64_t>{5, 0}));
  // the remainder is drawn anew each epoch, and never by a direction without data
  int64_t sum[3] = {};
  for (int64_t epoch = 0; epoch < 300; ++epoch) {
    const auto counts = epoch_counts({33, 0, 33}, "temperature", 1.7, 4, epoch);
    for (int d = 0; d < 3; ++d) sum[d] += counts[size_t(d)];
  }
  EXPECT_EQ(sum[1], 0);
  EXPECT_NEAR(double(sum[0]), double(sum[2]), 60);
}

TEST(Sampler, UpsamplingRepeatsAndDownsamplingDoesNot) {
  const auto source = small_source(200, 10);
  DataConfig c = small_config();
  c.lang_pairs = "en-aa,en-bb";
  c.sampling_method = "uniform";
  const TrainIterator sampler(source, c, 1, 0, 1);
  std::set<int64_t> draws_of_epoch[2];
  for (int64_t epoch : {0, 1}) {
    std::map<int64_t, int> large;
    int64_t small = 0, total = 0;
    for (const SentenceList& list : sampler.epoch_batches(epoch)) {
      for (SentenceRef s : list) {
        ++total;
        if (s.direction == 0) ++large[s.index];
        else ++small;
      }
    }
    EXPECT_EQ(total, 315);  // 1.5 x 210
    EXPECT_NEAR(double(small), 157.5, 1);
    for (const auto& [index, times] : large) EXPECT_EQ(times, 1);
    for (const auto& [index, times] : large) draws_of_epoch[epoch].insert(index);
  }
  EXPECT_NE(draws_of_epoch[0], draws_of_epoch[1]);  // a fresh draw each epoch
}

TEST(Sampler, FiltersLongSentencesAndCountsThem) {
  const auto source = small_source(24, 24);
  DataConfig c = small_config();
  c.max_source_positions = 10, c.max_target_positions = 11;  // pieces + 2
  const TrainIterator sampler(source, c, 1, 0, 1);
  int64_t kept = 0;
  for (const SentenceList& list : sampler.epoch_batches(0)) {
    const TranslationBatch b = Batcher(source, c, Split::Train).build(list);
    EXPECT_LE(b.source_time, 10);
    EXPECT_LE(b.target_time, 11);
    kept += b.sentences;
  }
  const int64_t skipped = sampler.skipped().at("longer than --max-source-positions") +
                          sampler.skipped().at("longer than --max-target-positions");
  EXPECT_EQ(kept + skipped, 96);
  c.max_tokens = 5;
  const TrainIterator tight(source, c, 1, 0, 1);
  EXPECT_GT(tight.skipped().at("longer than --max-tokens"), 0);
  c.max_tokens = 1;
  EXPECT_NE(user_error([&] { TrainIterator(source, c, 1, 0, 1); }).find("no training sentence"),
            std::string::npos);
}

TEST(Sampler, BadOptionsAndPositions) {
  const auto source = small_source(20, 20);
  const auto message = [&](auto change) {
    DataConfig c = small_config();
    change(c);
    return user_error([&] { TrainIterator(source, c, 1, 0, 1); });
  };
  EXPECT_NE(message([](DataConfig& c) { c.langs = "en,ab"; }).find("did you mean aa"),
            std::string::npos);
  EXPECT_NE(message([](DataConfig& c) { c.lang_pairs = "en-ab"; }).find("did you mean en-aa"),
            std::string::npos);
  EXPECT_NE(message([](DataConfig& c) { c.langs = "aa,bb"; }).find("no pair"), std::string::npos);
  EXPECT_NE(
      message([](DataConfig& c) { c.langs = "en,aa", c.lang_pairs = "en-bb"; }).find("--langs"),
      std::string::npos);
  EXPECT_NE(
      message([](DataConfig& c) { c.sampling_temperature = 0; }).find("--sampling-temperature"),
      std::string::npos);
  EXPECT_NE(message([](DataConfig& c) { c.max_tokens = -1; }).find("--max-tokens"),
            std::string::npos);
  EXPECT_THROW(TrainIterator(source, small_config(), 1, 0, 2, {0, 1}),
               UserError);  // 1 is no multiple of 2 ranks
  TrainIterator beyond(source, small_config(), 1, 0, 1, {0, 100000});
  EXPECT_THROW(beyond.next(), UserError);  // found on the prefetch thread, reported here
  EXPECT_THROW(beyond.next(), UserError);
}

TEST(EvalBatches, CoverTheSplitOnceAtAnyNumberOfRanks) {
  const auto source = small_source(4, 4);
  for (int ranks : {1, 2, 5, 50}) {
    std::map<std::pair<int32_t, int64_t>, int> seen;
    int64_t size = -1;
    for (int rank = 0; rank < ranks; ++rank) {
      const EvalBatches batches(source, small_config(), Split::Valid, -1, 64, 0, rank, ranks);
      EXPECT_EQ(batches.sentences(), 44);
      EXPECT_TRUE(size < 0 || size == batches.size());
      size = batches.size();
      for (int64_t i = 0; i < size; ++i) {
        const TranslationBatch b = batches[i];
        EXPECT_LE(b.sentences * std::max(b.source_time, b.target_time), 64);
        for (size_t k = 0; k < b.ids.size(); ++k) ++seen[{b.direction[k], b.ids[k]}];
      }
    }
    EXPECT_EQ(seen.size(), 44u);
    for (const auto& [sentence, times] : seen) EXPECT_EQ(times, 1);
  }
  const EvalBatches one(source, small_config(), Split::Valid, 2, 0, 5, 0, 1);
  EXPECT_EQ(one.sentences(), 11);
  EXPECT_EQ(one.size(), 3);
  DataConfig c = small_config();
  c.max_source_positions = 8;
  const auto make = [&] { return EvalBatches(source, c, Split::Valid, -1, 64, 0, 0, 1); };
  EXPECT_NE(user_error(make).find("--skip-invalid-size-inputs-valid-test"), std::string::npos);
  c.skip_invalid_size_inputs = true;
  EXPECT_EQ(make().sentences(), 22);  // 6 sources of 1 .. 11 words, 5 of 2 .. 12, twice
}

TEST(EvalBatches, FirstSentencesAndShuffledSources) {
  const auto source = small_source(4, 4);  // valid: 11 sentences of 1 .. 11 and 12 .. 2 words
  // by direction and sentence: how many words its source and target have
  const auto words = [&](EvalSelection selection) {
    std::map<std::pair<int32_t, int64_t>, std::pair<int64_t, int64_t>> found;
    const EvalBatches batches(source, small_config(), Split::Valid, -1, 64, 0, 0, 1, selection);
    for (int64_t i = 0; i < batches.size(); ++i) {
      const TranslationBatch b = batches[i];
      const auto from = b.source.to_vector<int64_t>(), to = b.target.to_vector<int64_t>();
      const auto count = [](const std::vector<int64_t>& ids, size_t row, int64_t time) {
        const auto begin = ids.begin() + int64_t(row) * time;
        return std::count_if(begin, begin + time, [](int64_t id) { return id == 6 || id == 7; });
      };
      for (size_t k = 0; k < b.ids.size(); ++k)
        found[{b.direction[k], b.ids[k]}] = {count(from, k, b.source_time),
                                             count(to, k, b.target_time)};
    }
    EXPECT_EQ(int64_t(found.size()), batches.sentences());
    return found;
  };
  const auto all = words({}), first = words({5, false}), shuffled = words({5, true});
  EXPECT_EQ(all.size(), 44u);
  EXPECT_EQ(first.size(), 20u);
  for (const auto& [sentence, lengths] : first) {
    const auto [direction, i] = sentence;
    EXPECT_LT(i, 5);
    EXPECT_EQ(lengths, all.at(sentence));
    // the target stays, the source is the next one's, of the chosen ones; the last takes the first's
    EXPECT_EQ(shuffled.at(sentence).second, lengths.second);
    EXPECT_EQ(shuffled.at(sentence).first, all.at({direction, (i + 1) % 5}).first);
  }
  EXPECT_EQ(shuffled.size(), first.size());
  EXPECT_EQ(words({100, false}), all);  // more than there are
}

TEST(Synthetic, SplitsAreDisjointAndTextIsWords) {
  const auto source = make_synthetic(3);
  ASSERT_EQ(source->directions().size(), 12u);
  EXPECT_EQ(source->checksum(), make_synthetic(3)->checksum());
  EXPECT_NE(source->checksum(), make_synthetic(4)->checksum());
  std::set<std::string> words(source->tokenizer().vocabulary().begin(),
                              source->tokenizer().vocabulary().end());
  EXPECT_EQ(int64_t(words.size()), source->vocabulary_size());
  for (int32_t d = 0; d < 12; ++d) {
    std::set<std::vector<int32_t>> train;
    for (int64_t i = 0; i < source->size(Split::Train, d); ++i) {
      const auto s = source->source(Split::Train, d)[i];
      train.insert({s.begin(), s.end()});
      EXPECT_EQ(s.size(), source->target(Split::Train, d)[i].size());
    }
    EXPECT_EQ(int64_t(train.size()), source->size(Split::Train, d));
    for (Split split : {Split::Valid, Split::Test}) {
      for (int64_t i = 0; i < source->size(split, d); ++i) {
        const auto s = source->source(split, d)[i];
        EXPECT_FALSE(train.contains({s.begin(), s.end()}));
        const std::string& text = source->source(split, d).text[size_t(i)];
        EXPECT_EQ(source->tokenizer().encode(text), std::vector<int32_t>(s.begin(), s.end()));
      }
    }
  }
  // syn1 keeps the order of concepts, syn2 reverses it: word i of one is word n-1-i of the other, by one fixed map
  std::map<int32_t, int32_t> word;
  const Sentences &x = source->source(Split::Train, 0), &y = source->target(Split::Train, 0);
  for (int64_t i = 0; i < x.size(); ++i) {
    for (size_t k = 0; k < x[i].size(); ++k) {
      const int32_t other = y[i][y[i].size() - 1 - k];
      EXPECT_EQ(word.emplace(x[i][k], other).first->second, other);
    }
  }
  EXPECT_EQ(word.size(), 24u);
}

}  // namespace
}  // namespace switchyard
