// TrainTask: what the trainer trains. The trainer knows updates, ranks, checkpoints and logs; the task
// knows the model, the data and the loss. Every method is collective: all ranks call it together.
#pragma once
#include "autograd/ops.h"
#include "nn/checkpoint.h"
#include "nn/context.h"
#include "tensor/device.h"

namespace switchyard {

// Numbers that add up over micro-batches, ranks and updates, by their name in the log; every rank has the same
// names. Those that end in "loss" are sums over target tokens: "loss" and "nll_loss" in nats, and auxiliary ones.
using Sums = std::map<std::string, double>;

// In one message, by a fixed tree over ranks: the same digits at every process count.
inline void sum_over_ranks(const dist::Comm& world, Sums& sums) {
  std::vector<double> values;
  for (const auto& [name, value] : sums) values.push_back(value);
  Tensor t = Tensor::of(values);
  world.all_reduce(t);
  const double* next = t.data<double>();
  for (auto& [name, value] : sums) value = *next++;
}

// Of all ranks, added in their order; on every rank. Collective.
inline Statistics sum_over_ranks(const dist::Comm& world, const Statistics& mine) {
  Statistics total;
  for (const std::string& text : world.all_gather_bytes(nlohmann::json(mine).dump()))
    add_statistics(total, nlohmann::json::parse(text).get<Statistics>());
  return total;
}

// One micro-batch of this rank.
struct MicroBatch {
  Var loss;                      // [1]: what is differentiated
  Sums sums;                     // target "tokens", "sentences"
  std::vector<Measured> losses;  // [1] each, the other sums
  double data_seconds = 0;       // waiting for the batch
};

// What the device measures in some micro-batches. The work of all of them is under way before the host waits.
class Measurements {
 public:
  void add(const MicroBatch& micro, ForwardContext& ctx) {
    losses_.insert(losses_.end(), micro.losses.begin(), micro.losses.end());
    statistics_.insert(statistics_.end(), ctx.measured.begin(), ctx.measured.end());
    ctx.measured.clear();
  }
  void read(Sums& sums, Statistics& statistics) const {  // adds them: the one wait
    std::vector<Tensor> values;
    for (const auto* list : {&losses_, &statistics_})
      for (const Measured& m : *list) values.push_back(m.values);
    values = to_host(values);
    auto next = values.begin();
    for (const Measured& m : losses_) sums[m.name] += value_of(*next++);
    for (const Measured& m : statistics_)
      add_statistics(statistics, {{m.name, (next++)->to(DType::F64).to_vector<double>()}});
  }

 private:
  std::vector<Measured> losses_, statistics_;
};

struct ValidResult {
  Sums sums;              // as of a MicroBatch, over the whole split, equal on all ranks
  Statistics statistics;  // of this rank
};

class TrainTask {
 public:
  virtual ~TrainTask() = default;
  virtual Module& model() = 0;
  virtual MicroBatch next(ForwardContext& ctx) = 0;  // forward pass of the next training batch
  virtual ValidResult validate() = 0;
  virtual bool evolve(int64_t update) = 0;  // the model's change between updates
  virtual int64_t epoch() const = 0;        // from 1
  // Where the data stands, as "data" of a checkpoint's state; and what makes the checkpoint usable alone.
  virtual void save(Snapshot& s) const = 0;
  virtual void load(const Attributes& state) = 0;
};

}  // namespace switchyard
