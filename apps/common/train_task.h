// TrainTask: what the trainer trains. The trainer knows updates, ranks, checkpoints and logs; the task
// knows the model, the data and the loss. Every method is collective: all ranks call it together.
#pragma once
#include <nlohmann/json.hpp>

#include "nn/context.h"
#include "nn/module.h"

namespace switchyard {

// Loss of one micro-batch of this rank. Sums over target tokens, in nats.
struct MicroBatch {
  Var loss;                          // [1]: what is differentiated
  double loss_sum = 0, nll_sum = 0;  // label-smoothed loss without and NLL
  std::vector<double> auxiliary;     // weighted auxiliary losses times tokens, by auxiliary_names()
  int64_t targets = 0, sources = 0, sentences = 0;
  double data_seconds = 0;  // waiting for the batch
};

struct ValidResult {
  double loss_sum = 0, nll_sum = 0;  // over the whole split, equal on all ranks
  int64_t targets = 0;
  Statistics statistics;  // of this rank
};

class TrainTask {
 public:
  virtual ~TrainTask() = default;
  virtual Module& model() = 0;
  virtual std::vector<std::string> auxiliary_names() const = 0;
  virtual MicroBatch next(
      ForwardContext& ctx) = 0;  // forward pass of the next training micro-batch
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
