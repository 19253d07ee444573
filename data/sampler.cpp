#include "data/sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tensor/check.h"
#include "tensor/rng.h"

namespace switchyard {
namespace {

constexpr size_t kReadyBatches = 4;
constexpr double kMaxScaleUp = 1.5;  // of an epoch over the real number of sentences

template <class T>
void shuffle(std::vector<T>& list, RandomSequence& random) {  // Fisher-Yates
  for (size_t i = list.size(); i > 1; --i) std::swap(list[i - 1], list[random.below(i)]);
}

}  // namespace

std::vector<int64_t> epoch_counts(const std::vector<int64_t>& sizes, const std::string& method,
                                  double temperature, uint64_t seed, int64_t epoch) {
  if (method == "concat") return sizes;
  const double total = double(std::accumulate(sizes.begin(), sizes.end(), int64_t(0)));
  std::vector<double> ratio;  // r_d, sums to 1
  for (int64_t n : sizes) {
    ratio.push_back(n == 0                ? 0.0
                    : method == "uniform" ? 1.0
                                          : std::pow(double(n) / total, 1.0 / temperature));
  }
  const double sum = std::accumulate(ratio.begin(), ratio.end(), 0.0);
  for (double& r : ratio) r /= sum;
  const size_t largest = size_t(std::max_element(sizes.begin(), sizes.end()) - sizes.begin());
  // the largest direction contributes all its data: sum_d r_d / r_largest * size_largest
  const double wanted = double(sizes[largest]) / ratio[largest];
  const int64_t size = int64_t(std::min(wanted + 1e-6, kMaxScaleUp * total));
  std::vector<int64_t> counts;
  // 1e-6: a product that is whole on paper may come out as 999.9999999
  for (double r : ratio) counts.push_back(int64_t(std::floor(r * double(size) + 1e-6)));
  RandomSequence random(random_stream(seed, "data/remainder", epoch));
  for (int64_t left = size - std::accumulate(counts.begin(), counts.end(), int64_t(0)); left > 0;
       --left) {
    double u = random.unit();
    size_t d = largest;  // rounding may leave u above the last step
    for (size_t k = 0; k < ratio.size(); ++k) {
      if (ratio[k] > 0 && u < ratio[k]) {
        d = k;
        break;
      }
      u -= ratio[k];
    }
    ++counts[d];
  }
  return counts;
}

EpochSampler::EpochSampler(std::shared_ptr<const TranslationSource> source,
                           const DataConfig& config, uint64_t seed)
    : config_(config), seed_(seed), batcher_(source, config, Split::Train) {
  validate(config);
  bool any = false;
  for (int32_t d : selected_directions(*source, config)) {
    usable_.push_back(batcher_.usable(d, skipped_));
    any |= !usable_.back().empty();
  }
  user_check(any, concat(source->origin(),
                         ": no training sentence within --max-source-positions, "
                         "--max-target-positions and --max-tokens"));
}

std::vector<SentenceList> EpochSampler::batches(int64_t epoch) const {
  std::vector<int64_t> sizes;
  for (const SentenceList& list : usable_) sizes.push_back(int64_t(list.size()));
  const std::vector<int64_t> counts =
      epoch_counts(sizes, config_.sampling_method, config_.sampling_temperature, seed_, epoch);
  RandomSequence draw(random_stream(seed_, "data/draw", epoch));
  SentenceList sample;
  for (size_t d = 0; d < usable_.size(); ++d) {
    if (counts[d] == sizes[d]) {
      sample.insert(sample.end(), usable_[d].begin(), usable_[d].end());
    } else if (counts[d] < sizes[d]) {  // without replacement: the first `count` of a shuffle
      SentenceList list = usable_[d];
      for (size_t i = 0; i < size_t(counts[d]); ++i) {
        std::swap(list[i], list[i + draw.below(list.size() - i)]);
        sample.push_back(list[i]);
      }
    } else {
      for (int64_t i = 0; i < counts[d]; ++i)
        sample.push_back(usable_[d][draw.below(uint64_t(sizes[d]))]);
    }
  }
  RandomSequence order(random_stream(seed_, "data/order", epoch));
  shuffle(sample, order);
  batcher_.sort_by_length(sample);
  std::vector<SentenceList> list =
      batcher_.cut(sample, config_.max_tokens, 0, config_.required_batch_size_multiple);
  shuffle(list, order);
  return list;
}

TrainIterator::TrainIterator(std::shared_ptr<const TranslationSource> source,
                             const DataConfig& config, uint64_t seed, int rank, int ranks,
                             DataPosition start)
    : sampler_(std::move(source), config, seed), rank_(rank), ranks_(ranks), position_(start) {
  check(rank >= 0 && rank < ranks, concat("rank ", rank, " of ", ranks));
  user_check(
      start.epoch >= 0 && start.batch >= 0 && start.batch % ranks == 0,
      concat("data position: epoch ", start.epoch, ", batch ", start.batch, " does not belong to ",
             ranks, " ranks: resume with the number of ranks of the checkpoint"));
  thread_ = std::thread([this, start] { produce(start); });
}

TrainIterator::~TrainIterator() {
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void TrainIterator::produce(DataPosition at) try {
  while (true) {
    const std::vector<SentenceList> list = sampler_.batches(at.epoch);
    const int64_t n = int64_t(list.size());
    user_check(at.batch < n,
               concat("data position: batch ", at.batch, " of epoch ", at.epoch, ", which has ", n,
                      ": the data or its options are not those of the checkpoint"));
    const int64_t epoch = at.epoch;
    while (at.epoch == epoch) {
      const int64_t mine = at.batch + rank_;
      at.batch += ranks_;
      if (at.batch >= n)
        at = {epoch + 1, 0};  // a rank without a batch in the last round gets a dummy
      Item item{sampler_.build(mine < n ? list[size_t(mine)] : SentenceList()), at};
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stop_ || ready_.size() < kReadyBatches; });
      if (stop_) return;
      ready_.push_back(std::move(item));
      lock.unlock();
      changed_.notify_all();
    }
  }
} catch (...) {
  std::lock_guard lock(mutex_);
  failure_ = std::current_exception();
  changed_.notify_all();
}

TranslationBatch TrainIterator::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !ready_.empty() || failure_; });
  if (ready_.empty()) std::rethrow_exception(failure_);
  Item item = std::move(ready_.front());
  ready_.pop_front();
  lock.unlock();
  changed_.notify_all();
  position_ = item.after;
  return to_tensors(item.batch);
}

}  // namespace switchyard
