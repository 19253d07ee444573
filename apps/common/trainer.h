// The training loop, for every method: next batches, forward, backward, sum over ranks, clip, step, and
// now and then log, validate, save. Style: fit() reads top to bottom as what happens to a run.
// Gradient rule: the sum of all micro-batches and ranks, times 1/N once (N = target tokens of the update).
#pragma once
#include "apps/common/train_config.h"
#include "apps/common/train_log.h"
#include "dist/grad_sync.h"

namespace switchyard {

struct Trainer {
  const TrainConfig& config;
  const OptimConfig& optim;
  TrainTask& task;
  dist::Runtime& runtime;
  const dist::Mesh& mesh;
  std::string config_toml;  // for the checkpoints
  TrainLog::Summary summary = {};

  // What a run carries from update to update, and into its checkpoints
  int64_t update = 0;
  double best_metric = std::numeric_limits<double>::infinity();  // of all validations
  Optimizer optimizer{optim};

  int64_t failed_saves = 0;
  std::unique_ptr<CheckpointWriter> writer = {};  // none with --no-save
  std::unique_ptr<TrainLog> log = {};

  // start: the checkpoint to begin with, empty = none. Collective.
  void fit(const std::string& start) {
    load(start);
    log = std::make_unique<TrainLog>(runtime, config.save_dir, update, config.max_update,
                                     config.log_format == "simple", summary);
    const auto due = [this](int64_t interval) { return interval > 0 && update % interval == 0; };
    for (bool last = update >= config.max_update; !last;) {
      if (task.evolve(update)) optimizer.set_parameters(parameters(task.model()));
      last = step();
      if (last || due(config.log_interval))
        log->write_train({{"kind", "train"},
                          {"update", update},
                          {"epoch", task.epoch()},
                          {"lr", learning_rate(optim, update - 1)},
                          {"failed_saves", failed_saves}});
      const bool best = (last || due(config.validate_interval_updates)) && validate();
      if (last || due(config.save_interval_updates) || best) save(best, last);
    }
  }

  // The parts of fit(), in their order
  void load(const std::string& start) {
    const std::vector<NamedParam> params = parameters(task.model());
    optimizer.set_parameters(params);
    const int keep = std::max<int64_t>(0, config.keep_interval_updates);
    if (!config.no_save)
      writer = std::make_unique<CheckpointWriter>(config.save_dir + "/checkpoints", runtime,
                                                  config.async_write, keep);
    if (start.empty()) return;
    const bool resume = !config.resume.empty();  // else --restore-file: only the parameters
    load_checkpoint(start, checkpoint_entries(params, resume ? &optimizer : nullptr));
    for (const NamedParam& p : params) p.param->var.data_changed();
    if (!resume) return;
    const Attributes state = open_checkpoint(start, false).attrs("/state");
    update = std::get<int64_t>(state.at("update"));
    best_metric = std::get<double>(state.at("best_metric"));
    task.load(state);
  }

  // One update; true: it was the last one, on all ranks.
  bool step() {
    const double started = steady_seconds(), comm_before = runtime.world.meter().seconds;
    Sums sums;
    Statistics statistics;
    Measurements measured;
    double data_seconds = 0;
    for (int64_t a = 0; a < config.update_freq; ++a) {
      ForwardContext ctx;
      ctx.training = true;
      ctx.update = update;
      ctx.micro_batch = a;
      ctx.seed = uint64_t(config.seed);
      ctx.rank = runtime.world.rank();
      const MicroBatch micro = task.next(ctx);
      backward(micro.loss);
      for (const auto& [name, value] : micro.sums) sums[name] += value;
      add_statistics(statistics, ctx.statistics);
      measured.add(micro, ctx);
      data_seconds += micro.data_seconds;
    }
    measured.read(sums, statistics);
    log->add_statistics(statistics);
    // Decisions that all ranks must take alike travel with the losses.
    sums["stop"] = runtime.signal && runtime.signal->load();
    sums["shards_done"] = writer && writer->in_flight() && writer->shard_done();
    sum_over_ranks(runtime.world, sums);

    const std::vector<NamedParam> params = parameters(task.model());
    const double norm = synchronized_norm(params), tokens = sums["tokens"];
    if (!std::isfinite(sums["loss"]) || !std::isfinite(norm))
      throw UserError(concat("update ", update + 1, ": loss ", sums["loss"] / std::max(tokens, 1.0),
                             " and gradient norm ", norm, " are not finite (epoch ", task.epoch(),
                             "); lower --lr or set --clip-norm"));
    const double scale = tokens > 0 ? 1 / tokens : 0, mean_norm = tokens > 0 ? norm / tokens : 0;
    const double lr = learning_rate(optim, update);
    optimizer.step(lr, scale * clip_factor(mean_norm, optim.clip_norm));
    for (const NamedParam& p : params) p.param->var.set_grad({});
    ++update;
    if (sums["shards_done"] == runtime.world.size()) finish_save(false);

    sums["updates"] = 1;
    sums["gnorm"] = mean_norm;
    sums["seconds"] = steady_seconds() - started;
    sums["data_seconds"] = data_seconds;
    sums["comm_seconds"] = runtime.world.meter().seconds - comm_before;
    log->add_update(sums);
    return update == config.max_update || sums["stop"] > 0 ||
           (update > optim.warmup_updates && lr < optim.stop_min_lr);
  }

  // Sums the gradients over ranks; their norm.
  double synchronized_norm(const std::vector<NamedParam>& params) {
    std::vector<dist::GradEntry> grads;
    for (const auto& [path, p] : params) {  // in the order of paths
      if (!p->var.grad().defined())
        p->var.set_grad(zeros_like(p->var.data()));  // unused in this update: Adam still decays
      grads.push_back({p->var.grad(), p->placement == Placement::ExpertSharded});
    }
    dist::sync_gradients(mesh, grads);
    return dist::gradient_norm(mesh.expert, grads);
  }

  // True: the best so far.
  bool validate() {
    const ValidResult result = task.validate();
    const double metric =
        result.sums.at(config.best_checkpoint_metric) / std::max(1.0, result.sums.at("tokens"));
    const bool best = metric < best_metric;
    if (best) best_metric = metric;
    log->write_valid(
        {{"kind", "valid"}, {"update", update}, {"epoch", task.epoch()}, {"best", best}}, result);
    return best;
  }

  void save(bool best, bool last) {
    if (!writer) return;
    if (writer->in_flight()) finish_save(false);  // the save before
    Snapshot s;
    s.update = update;
    s.tensors = checkpoint_entries(parameters(task.model()), &optimizer);
    s.state = {{"update", update},
               {"best_metric", best_metric},
               {"seed", config.seed},
               {"ranks", int64_t(runtime.world.size())}};
    s.config = config_toml;
    task.save(s);
    writer->begin(s, best);
    if (last || !config.async_write) finish_save(last);
  }

  // A last save that fails is a UserError; any other is a warning, and training goes on.
  void finish_save(bool last) {
    const std::string error = writer->finish();
    if (error.empty()) return;
    user_check(!last, "the last checkpoint could not be written: " + error);
    ++failed_saves;
    if (runtime.world.rank() == 0)
      std::cerr << "warning: checkpoint not written: " << error << "\n";
  }

  static double steady_seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
};

}  // namespace switchyard
