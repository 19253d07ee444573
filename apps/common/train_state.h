// What a training run carries from update to update and into its checkpoints: the update count, the best
// validation metric, the optimizer; and the writing of those checkpoints.
#pragma once
#include <limits>

#include "apps/common/resume.h"
#include "apps/common/train_task.h"
#include "nn/checkpoint.h"
#include "nn/optimizer.h"

namespace switchyard {

class TrainState {
 public:
  TrainState(const TrainConfig& config, const OptimConfig& optim, std::string config_toml,
             ResumePoint from, const dist::Runtime& runtime);
  int64_t update = 0;
  double best_metric = std::numeric_limits<double>::infinity();
  bool new_best = false;  // the last validation was the best so far
  Optimizer optimizer;

  // Fills model, optimizer, data position and the numbers above from the checkpoint, if there is one. Collective.
  void load(TrainTask& task);
  // A final save that fails is a UserError; any other is a warning, and training goes on. Collective.
  void save(TrainTask& task, bool final_save);
  // Asynchronous writing: is this process's shard on disk? The sum over ranks goes to poll().
  bool shard_done() const { return writer_ && writer_->in_flight() && writer_->shard_done(); }
  void poll(int64_t ranks_done);
  int64_t failed_saves() const { return failed_saves_; }

 private:
  Snapshot snapshot(TrainTask& task);
  void finish(bool final_save);

  const TrainConfig& config_;
  std::string config_toml_;
  ResumePoint from_;
  const dist::Runtime& runtime_;
  std::unique_ptr<CheckpointWriter> writer_;
  int64_t failed_saves_ = 0, saved_update_ = -1;
};

}  // namespace switchyard
