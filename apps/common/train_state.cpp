#include "apps/common/train_state.h"

#include <iostream>

namespace switchyard {

TrainState::TrainState(const TrainConfig& config, const OptimConfig& optim, std::string config_toml,
                       ResumePoint from, const dist::Runtime& runtime)
    : optimizer(optim),
      config_(config),
      config_toml_(std::move(config_toml)),
      from_(std::move(from)),
      runtime_(runtime) {
  if (config.no_save) return;
  const int keep = std::max<int64_t>(0, config.keep_interval_updates);
  writer_ = std::make_unique<CheckpointWriter>(config.save_dir + "/checkpoints", runtime,
                                               config.async_write, keep);
}

void TrainState::load(TrainTask& task) {
  const std::vector<NamedParam> params = parameters(task.model());
  optimizer.set_parameters(params);
  if (from_.folder.empty()) return;
  load_checkpoint(from_.folder, checkpoint_entries(params, from_.resume ? &optimizer : nullptr));
  if (!from_.resume) return;
  const Attributes state = open_checkpoint(from_.folder, false).attrs("/state");
  update = saved_update_ = std::get<int64_t>(state.at("update"));
  best_metric = std::get<double>(state.at("best_metric"));
  task.set_data_state(nlohmann::json::parse(std::get<std::string>(state.at("data"))));
}

Snapshot TrainState::snapshot(TrainTask& task) {
  Snapshot s;
  s.update = update;
  s.tensors = checkpoint_entries(parameters(task.model()), &optimizer);
  s.state = {{"update", update},
             {"best_metric", best_metric},
             {"data", task.data_state().dump()},
             {"seed", config_.seed},
             {"ranks", int64_t(runtime_.world.size())}};
  s.config = config_toml_;
  s.tokenizer = task.tokenizer_model();
  s.vocabulary = task.vocabulary();
  return s;
}

void TrainState::save(TrainTask& task, bool final_save) {
  if (!writer_) return;
  if (writer_->in_flight()) finish(false);
  if (saved_update_ != update || new_best) {
    writer_->begin(snapshot(task), new_best);
    saved_update_ = update;
    new_best = false;
    if (final_save || !config_.async_write) finish(final_save);
  }
}

void TrainState::poll(int64_t ranks_done) {
  if (writer_ && writer_->in_flight() && ranks_done == runtime_.world.size()) finish(false);
}

void TrainState::finish(bool final_save) {
  const std::string error = writer_->finish();
  if (error.empty()) return;
  user_check(!final_save, "the last checkpoint could not be written: " + error);
  saved_update_ = -1;
  ++failed_saves_;
  if (runtime_.world.rank() == 0) std::cerr << "warning: checkpoint not written: " << error << "\n";
}

}  // namespace switchyard
