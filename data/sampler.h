// From sentences to batches, specs/hmoe.md 4.2 and 4.3.
// A batch (batcher.cpp): lengths with language tokens, cutting by --max-tokens, padding; and the fixed evaluation batches.
// Source fed: __tgt__ pieces </s>, left-padded. Target: __tgt__ pieces </s>, right-padded;
// decoder input: the target rotated by one, </s> __tgt__ pieces.
// The order of training data (sampler.cpp): each epoch draws sentences by direction, r_d ~ (size_d / sum)^(1/T), permutes
// and sorts them by length, cuts batches, shuffles the list, and deals it to the ranks round-robin.
// All of it is a pure function of (seed, epoch, data, configuration, ranks): a DataPosition says the rest.
#pragma once
#include <future>

#include "data/corpus.h"
#include "tensor/tensor.h"

namespace switchyard {

struct DataConfig {
  std::string data;        // empty: the synthetic task
  std::string langs;       // empty: all of the corpus
  std::string lang_pairs;  // empty: all directions between the languages
  std::string sampling_method = "concat";
  double sampling_temperature = 1.5;
  int64_t max_tokens = 4096;
  int64_t required_batch_size_multiple = 8;
  int64_t max_source_positions = 1024, max_target_positions = 1024;
  bool skip_invalid_size_inputs = false;
  std::string encoder_langtok = "tgt";
  bool decoder_langtok = true;

  template <class V>
  void visit(V&& v) {
    v.group("Data");
    v(data, "data", "corpus file made by apps/prepare; none: the built-in synthetic task");
    v(langs, "langs", "comma list: use only these languages of the corpus");
    v(lang_pairs, "lang-pairs",
      "comma list of directions such as fr-en,en-fr; default all between the languages");
    v(sampling_method, "sampling-method", "how directions are mixed",
      {"concat", "temperature", "uniform"});
    v(sampling_temperature, "sampling-temperature",
      "T of r ~ size^(1/T); 1 = proportional to size");
    v(max_tokens, "max-tokens", "padded tokens of a micro-batch of a rank: rows x longest row");
    v(required_batch_size_multiple, "required-batch-size-multiple",
      "larger batches are cut down to a multiple of this");
    v(max_source_positions, "max-source-positions", "longer sources are left out");
    v(max_target_positions, "max-target-positions", "longer targets are left out");
    v(skip_invalid_size_inputs, "skip-invalid-size-inputs-valid-test",
      "leave out too long sentences of evaluation splits as well (else they are an error)");
    v(encoder_langtok, "encoder-langtok", "language token at the source's front",
      {"tgt", "src", "none"});
    v(decoder_langtok, "decoder-langtok", "language token at the target's front");
  }
};
void validate(const DataConfig& config);  // impossible values: UserErrors

// Directions that --langs and --lang-pairs choose, as rising indices into source.directions().
std::vector<int32_t> selected_directions(const TranslationSource& source, const DataConfig& config);

// One micro-batch of a rank.
struct TranslationBatch {
  int64_t sentences = 0, source_time = 0, target_time = 0;  // all 0: a dummy batch of an idle rank
  Tensor source;         // i64 [B, Ts]: __tgt__ pieces </s>, left-padded
  Tensor decoder_input;  // i64 [B, Tt]: </s> __tgt__ pieces, right-padded (target rotated)
  Tensor target;         // i64 [B, Tt]: __tgt__ pieces </s>, right-padded with kPad
  int64_t source_tokens = 0, target_tokens = 0;  // without padding
  std::vector<int64_t> ids;                      // per sentence: index inside its direction's split
  std::vector<int32_t> direction;                // per sentence: index into the corpus' directions
};

// A sentence and its translation as pieces. An empty target, for generation: language token and </s> only.
struct PiecePair {
  std::span<const int32_t> source, target;
  std::string source_lang, target_lang;
};
TranslationBatch make_batch(const Tokenizer& tokenizer, const DataConfig& config,
                            const std::vector<PiecePair>& pairs);

struct SentenceRef {
  int32_t direction = 0, index = 0;  // index inside the direction's split
  int32_t source = 0;                // whose source is read: `index`, unless sources are shuffled
};
using SentenceList = std::vector<SentenceRef>;

class Batcher {
 public:
  Batcher(std::shared_ptr<const TranslationSource> source, DataConfig config, Split split)
      : source_(std::move(source)), config_(std::move(config)), split_(split) {}

  // Sentences of a direction that fit the length limits; the others are counted.
  SentenceList usable(int32_t direction, Counts& skipped) const;
  // Sorts stably by source, then by target length, and cuts consecutive sentences; max_sentences 0 = no limit.
  std::vector<SentenceList> cut(SentenceList list, int64_t max_tokens, int64_t max_sentences,
                                int64_t multiple) const;
  TranslationBatch build(const SentenceList& list) const;  // an empty list gives a dummy batch

 private:
  std::pair<int64_t, int64_t> lengths(SentenceRef s) const;  // of source and target, as fed

  std::shared_ptr<const TranslationSource> source_;
  DataConfig config_;
  Split split_;
};

// Which sentences of an evaluation split, and with which sources.
struct EvalSelection {
  int64_t first_sentences = 0;   // only so many of each direction; 0 = all
  bool shuffle_sources = false;  // each sentence gets the next one's source: does the model read?
};

// The batches of an evaluation split, dealt round-robin to the ranks. Every rank has size() of them, the last ones may
// be dummies. A pure function of data, configuration and ranks.
class EvalBatches {
 public:
  // direction: index into source->directions(), -1 = all selected ones. max_sentences 0 = only max_tokens limits.
  EvalBatches(std::shared_ptr<const TranslationSource> source, const DataConfig& config,
              Split split, int32_t direction, int64_t max_tokens, int64_t max_sentences, int rank,
              int ranks, EvalSelection selection = {});
  int64_t size() const { return (int64_t(lists_.size()) + ranks_ - 1) / ranks_; }
  TranslationBatch operator[](int64_t i) const;
  int64_t sentences() const { return sentences_; }  // of all ranks

 private:
  Batcher batcher_;
  std::vector<SentenceList> lists_;
  int64_t sentences_ = 0;
  int rank_, ranks_;
};

// How many sentences an epoch takes of each direction; sizes: those available. draw: the epoch's randomness.
std::vector<int64_t> epoch_counts(const std::vector<int64_t>& sizes, const std::string& method,
                                  double temperature, uint64_t seed, int64_t epoch);

// Position of the training data: a pure function of it, seed, data and R gives every later batch.
struct DataPosition {
  int64_t epoch = 0;
  int64_t batch = 0;  // global micro-batches consumed of this epoch (all ranks together)
};

// The training micro-batches of one rank. What takes time, an epoch's draw, sort and shuffle, is done ahead on a thread.
class TrainIterator {
 public:
  TrainIterator(std::shared_ptr<const TranslationSource> source, const DataConfig& config,
                uint64_t seed, int rank, int ranks, DataPosition start = {});
  TranslationBatch next();  // a dummy when this rank's share of an epoch ends early
  DataPosition position() const { return position_; }  // after the batches handed out so far
  const Counts& skipped() const { return skipped_; }
  // Of all ranks, in the order they are dealt
  std::vector<SentenceList> epoch_batches(int64_t epoch) const;

 private:
  void prepare(int64_t epoch);

  const DataConfig config_;
  const uint64_t seed_;
  const Batcher batcher_;
  std::vector<SentenceList> usable_;  // one for each selected direction
  Counts skipped_;
  int rank_, ranks_;
  DataPosition position_;
  std::vector<SentenceList> batches_;  // of the position's epoch; empty: still to be fetched
  std::future<std::vector<SentenceList>> upcoming_;  // goes first: its thread uses the others
};

}  // namespace switchyard
