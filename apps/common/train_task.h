// TrainTask: what the trainer trains. The trainer knows updates, ranks, checkpoints and logs; the task
// knows the model, the data and the loss. Every method is collective: all ranks call it together.
#pragma once
#include "nn/checkpoint.h"
#include "nn/context.h"

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
  Var loss;                 // [1]: what is differentiated
  Sums sums;                // losses, target "tokens", "sentences"
  double data_seconds = 0;  // waiting for the batch
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
