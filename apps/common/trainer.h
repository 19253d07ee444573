// The training loop, for every method: next batches, forward, backward, sum over ranks, clip, step, and
// now and then log, validate, save. Style: fit() reads top to bottom as what happens to a run.
// Gradient rule: the sum of all micro-batches and ranks, times 1/N once (N = target tokens of the update).
#pragma once
#include <string>
#include <vector>

#include "apps/common/train_config.h"
#include "apps/common/train_log.h"
#include "apps/common/train_state.h"
#include "apps/common/train_task.h"
#include "dist/grad_sync.h"
#include "dist/mesh.h"
#include "dist/runtime.h"
#include "nn/optimizer.h"

namespace switchyard {

class Trainer {
 public:
  Trainer(const TrainConfig& config, const OptimConfig& optim, TrainTask& task,
          dist::Runtime& runtime, const dist::Mesh& mesh, TrainState& state, TrainLog& log);
  void fit();

 private:
  void step();  // one update
  MicroBatch micro_batch(int64_t index);
  double synchronized_norm();  // sums gradients over ranks; returns the norm of the sum
  void rebuild();              // everything derived from visit()
  void validate();
  void save(bool final_save);
  bool due(int64_t interval) const { return interval > 0 && state_.update % interval == 0; }

  const TrainConfig& config_;
  const OptimConfig& optim_;
  TrainTask& task_;
  dist::Runtime& runtime_;
  const dist::Mesh& mesh_;
  TrainState& state_;  // update, best loss, optimizer, checkpoints
  TrainLog& log_;
  std::vector<NamedParam> params_;
  std::vector<dist::GradEntry> grads_;
  bool stop_ = false;  // equal on all ranks
};

}  // namespace switchyard
