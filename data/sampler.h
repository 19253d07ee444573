// The order of training data, specs/hmoe.md 4.3. Each epoch draws sentences by direction, r_d ~ (size_d / sum)^(1/T),
// permutes and sorts them by length, cuts batches, shuffles the list, and deals it to the ranks round-robin.
// All of it is a pure function of (seed, epoch, data, configuration, ranks): a DataPosition says the rest.
#pragma once
#include <future>

#include "data/batcher.h"

namespace switchyard {

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
