#include "data/sampler.h"

#include <cmath>

#include "tensor/rng.h"

namespace switchyard {
namespace {

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
  const double exponent = method == "uniform" ? 0.0 : 1.0 / temperature;
  std::vector<double> ratio;  // r_d, sums to 1
  for (int64_t n : sizes) ratio.push_back(n == 0 ? 0.0 : std::pow(double(n) / total, exponent));
  const double sum = std::accumulate(ratio.begin(), ratio.end(), 0.0);
  for (double& r : ratio) r /= sum;
  const size_t largest = size_t(std::ranges::max_element(sizes) - sizes.begin());
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
    size_t d = 0;
    while (d < ratio.size() && u >= ratio[d]) u -= ratio[d++];
    ++counts[d < ratio.size() ? d : largest];  // rounding may leave u above the last step
  }
  return counts;
}

TrainIterator::TrainIterator(std::shared_ptr<const TranslationSource> source,
                             const DataConfig& config, uint64_t seed, int rank, int ranks,
                             DataPosition start)
    : config_(config),
      seed_(seed),
      batcher_(source, config, Split::Train),
      rank_(rank),
      ranks_(ranks),
      position_(start) {
  validate(config);
  for (int32_t d : selected_directions(*source, config))
    usable_.push_back(batcher_.usable(d, skipped_));
  user_check(std::ranges::any_of(usable_, [](const SentenceList& l) { return !l.empty(); }),
             concat(source->origin(),
                    ": no training sentence within --max-source-positions, "
                    "--max-target-positions and --max-tokens"));
  user_check(
      start.epoch >= 0 && start.batch >= 0 && start.batch % ranks == 0,
      concat("data position: epoch ", start.epoch, ", batch ", start.batch, " does not belong to ",
             ranks, " ranks: resume with the number of ranks of the checkpoint"));
  prepare(start.epoch);
}

std::vector<SentenceList> TrainIterator::epoch_batches(int64_t epoch) const {
  std::vector<int64_t> sizes;
  for (const SentenceList& list : usable_) sizes.push_back(int64_t(list.size()));
  const std::vector<int64_t> counts =
      epoch_counts(sizes, config_.sampling_method, config_.sampling_temperature, seed_, epoch);
  RandomSequence draw(random_stream(seed_, "data/draw", epoch));
  SentenceList sample;
  for (size_t d = 0; d < usable_.size(); ++d) {
    SentenceList list = usable_[d];
    const size_t have = list.size(), want = size_t(counts[d]);
    for (size_t i = 0; i < want; ++i) {  // fewer than there are: without replacement
      if (want < have) std::swap(list[i], list[i + draw.below(have - i)]);
      sample.push_back(list[want > have ? draw.below(have) : i]);
    }
  }
  RandomSequence order(random_stream(seed_, "data/order", epoch));
  shuffle(sample, order);
  std::vector<SentenceList> list =
      batcher_.cut(std::move(sample), config_.max_tokens, 0, config_.required_batch_size_multiple);
  shuffle(list, order);
  return list;
}

void TrainIterator::prepare(int64_t epoch) {
  upcoming_ = std::async(std::launch::async, [this, epoch] { return epoch_batches(epoch); });
}

TranslationBatch TrainIterator::next() {
  if (batches_.empty()) batches_ = upcoming_.get();
  const int64_t n = int64_t(batches_.size()), mine = position_.batch + rank_;
  user_check(
      position_.batch < n,
      concat("data position: batch ", position_.batch, " of epoch ", position_.epoch,
             ", which has ", n, ": the data or its options are not those of the checkpoint"));
  TranslationBatch batch = batcher_.build(mine < n ? batches_[size_t(mine)] : SentenceList());
  position_.batch += ranks_;
  if (position_.batch >= n / 2 && !upcoming_.valid()) prepare(position_.epoch + 1);
  if (position_.batch >= n) {
    position_ = {position_.epoch + 1, 0};
    batches_.clear();
  }
  return batch;
}

}  // namespace switchyard
