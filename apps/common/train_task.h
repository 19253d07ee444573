// TrainTask: what the trainer trains. The trainer knows updates, ranks, checkpoints and logs; the task
// knows the model, the data and the loss. Every method is collective: all ranks call it together.
#pragma once
#include <nlohmann/json.hpp>

#include "nn/context.h"
#include "nn/module.h"

namespace switchyard {

// Numbers that add up over micro-batches, ranks and updates, by their name in the log; every rank has the same
// names. Those that end in "loss" are sums over target tokens: "loss" and "nll_loss" in nats, and auxiliary ones.
using Sums = std::map<std::string, double>;

// One micro-batch of this rank.
struct MicroBatch {
  Var loss;                 // [1]: what is differentiated
  Sums sums;                // losses, target "tokens", "sentences"
  double data_seconds = 0;  // waiting for the batch
};

struct ValidResult {
  double loss_sum = 0, nll_sum = 0;  // nats over the whole split, equal on all ranks
  int64_t targets = 0;
  Statistics statistics;  // of this rank
};

class TrainTask {
 public:
  virtual ~TrainTask() = default;
  virtual Module& model() = 0;
  virtual MicroBatch next(ForwardContext& ctx) = 0;  // forward pass of the next training batch
  virtual ValidResult validate() = 0;
  virtual bool evolve(int64_t update) = 0;        // the model's change between updates
  virtual nlohmann::json data_state() const = 0;  // where the data stands, for the checkpoint
  virtual void set_data_state(const nlohmann::json& state) = 0;
  virtual int64_t epoch() const = 0;
  // Saved with the checkpoint, so that it can be used alone.
  virtual std::string tokenizer_model() const { return {}; }
  virtual std::vector<std::string> vocabulary() const { return {}; }
};

}  // namespace switchyard
