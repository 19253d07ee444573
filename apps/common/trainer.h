// The training loop, for every method: next batches, forward, backward, sum over ranks, clip, step, and
// now and then log, validate, save. Style: fit() reads top to bottom as what happens to a run.
// Gradient rule: the sum of all micro-batches and ranks, times 1/N once (N = target tokens of the update).
#pragma once
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "apps/common/train_config.h"
#include "apps/common/train_log.h"
#include "apps/common/train_task.h"
#include "dist/mesh.h"
#include "nn/optimizer.h"

namespace switchyard {

struct Trainer {
  const TrainConfig& config;
  const OptimConfig& optim;
  TrainTask& task;
  dist::Runtime& runtime;
  const dist::Mesh& mesh;
  std::string config_toml;  // for the checkpoints

  // What a run carries from update to update, and into its checkpoints
  int64_t update = 0;
  double best_metric = std::numeric_limits<double>::infinity();  // of all validations
  Optimizer optimizer{optim};

  int64_t failed_saves = 0;
  std::unique_ptr<CheckpointWriter> writer = {};  // none with --no-save
  std::unique_ptr<TrainLog> log = {};

  // start: the checkpoint to begin with, empty = none. Collective.
  void fit(const std::string& start);

  // The parts of fit(), in their order
  void load(const std::string& start);
  bool step();  // one update; true: it was the last one, on all ranks
  double synchronized_norm(const std::vector<NamedParam>& params);  // sums gradients over ranks
  bool validate();                                                  // true: the best so far
  // A last save that fails is a UserError; any other is a warning, and training goes on.
  void save(bool best, bool last);
  void finish_save(bool last);
};

}  // namespace switchyard
