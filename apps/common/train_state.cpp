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
  const Checkpoint checkpoint(from_.folder, false);  // verified when it was found
  std::vector<CheckpointEntry> entries = model_entries(params);
  if (!from_.resume) {
    checkpoint.load(entries);
    return;
  }
  const std::vector<CheckpointEntry> slots = optimizer_entries(params, optimizer);
  entries.insert(entries.end(), slots.begin(), slots.end());
  checkpoint.load(entries);
  take_steps(slots, optimizer);
  const Attributes state = checkpoint.state();
  update = saved_update_ = checkpoint.update();
  best_metric = std::get<double>(state.at("best_metric"));
  task.set_data_state(nlohmann::json::parse(std::get<std::string>(state.at("data"))));
}

Snapshot TrainState::snapshot(TrainTask& task) {
  const std::vector<NamedParam> params = parameters(task.model());
  Snapshot s;
  s.update = update;
  s.tensors = model_entries(params);
  const std::vector<CheckpointEntry> slots = optimizer_entries(params, optimizer);
  s.tensors.insert(s.tensors.end(), slots.begin(), slots.end());
  s.state = {{"update", update},
             {"best_metric", best_metric},
             {"data", task.data_state().dump()},
             {"seed", config_.seed},
             {"ranks", int64_t(runtime_.world.size())}};
  s.config = config_toml_;
  s.assets["tokenizer"] = task.tokenizer_model();
  s.vocabulary = task.vocabulary();
  return s;
}

void TrainState::save(TrainTask& task, bool final_save) {
  if (!writer_) return;
  if (const auto earlier = writer_->wait()) report(*earlier);
  std::optional<SaveResult> result;
  if (saved_update_ != update || new_best) {
    saved_update_ = -1;
    result = writer_->begin(snapshot(task), new_best);
    if (!result && final_save) result = writer_->wait();
  }
  new_best = false;
  if (!result) return;
  if (final_save && !result->saved)
    throw UserError("the last checkpoint could not be written: " + result->message);
  report(*result);
}

void TrainState::poll(int64_t ranks_done) {
  if (writer_ && writer_->in_flight() && ranks_done == runtime_.world.size())
    report(writer_->finish());
}

void TrainState::report(const SaveResult& result) {
  if (result.saved) saved_update_ = update;
  else ++failed_saves_;
  if (!result.message.empty() && runtime_.world.rank() == 0)
    std::cerr << "warning: checkpoint" << (result.saved ? ": " : " not written: ") << result.message
              << "\n";
}

}  // namespace switchyard
