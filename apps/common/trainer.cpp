#include "apps/common/trainer.h"

#include <chrono>
#include <cmath>
#include <iostream>

#include "dist/grad_sync.h"

namespace switchyard {

namespace {

double now() {
  using clock = std::chrono::steady_clock;
  return std::chrono::duration<double>(clock::now().time_since_epoch()).count();
}

// In one message, by a fixed tree over ranks: the same digits at every process count.
void sum_over_ranks(const dist::Comm& world, Sums& sums) {
  std::vector<double> values;
  for (const auto& [name, value] : sums) values.push_back(value);
  Tensor t = Tensor::of(values);
  world.all_reduce(t);
  const double* next = t.data<double>();
  for (auto& [name, value] : sums) value = *next++;
}

}  // namespace

void Trainer::fit(const std::string& start) {
  load(start);
  log = std::make_unique<TrainLog>(runtime, config.save_dir, update, config.max_update,
                                   config.log_format == "simple");
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

void Trainer::load(const std::string& start) {
  const std::vector<NamedParam> params = parameters(task.model());
  optimizer.set_parameters(params);
  const int keep = std::max<int64_t>(0, config.keep_interval_updates);
  if (!config.no_save)
    writer = std::make_unique<CheckpointWriter>(config.save_dir + "/checkpoints", runtime,
                                                config.async_write, keep);
  if (start.empty()) return;
  const bool resume = !config.resume.empty();  // else --restore-file: only the parameters
  load_checkpoint(start, checkpoint_entries(params, resume ? &optimizer : nullptr));
  if (!resume) return;
  const Attributes state = open_checkpoint(start, false).attrs("/state");
  update = std::get<int64_t>(state.at("update"));
  best_metric = std::get<double>(state.at("best_metric"));
  task.set_data_state(nlohmann::json::parse(std::get<std::string>(state.at("data"))));
}

bool Trainer::step() {
  const double started = now(), comm_before = runtime.world.meter().seconds;
  Sums sums;
  double data_seconds = 0;
  for (int64_t a = 0; a < config.update_freq; ++a) {
    ForwardContext ctx;
    ctx.training = true;
    ctx.update = update;
    ctx.micro_batch = a;
    ctx.seed = uint64_t(config.seed);
    ctx.rank = runtime.world.rank();
    const MicroBatch micro = task.next(ctx);
    log->add_statistics(ctx.statistics);
    backward(micro.loss);
    for (const auto& [name, value] : micro.sums) sums[name] += value;
    data_seconds += micro.data_seconds;
  }
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
  const double mean_norm = tokens > 0 ? norm / tokens : 0;
  const double scale = tokens > 0 ? 1 / tokens : 0;
  const double lr = learning_rate(optim, update);
  optimizer.step(lr, scale * clip_factor(mean_norm, optim.clip_norm));
  for (const NamedParam& p : params) p.param->var.set_grad({});
  ++update;
  if (sums["shards_done"] == runtime.world.size()) finish_save(false);

  sums["updates"] = 1;
  sums["gnorm"] = mean_norm;
  sums["seconds"] = now() - started;
  sums["data_seconds"] = data_seconds;
  sums["comm_seconds"] = runtime.world.meter().seconds - comm_before;
  log->add_update(sums);
  return update == config.max_update || sums["stop"] > 0 ||
         (update > optim.warmup_updates && lr < optim.stop_min_lr);
}

double Trainer::synchronized_norm(const std::vector<NamedParam>& params) {
  std::vector<dist::GradEntry> grads;
  for (const auto& [path, p] : params) {  // in the order of paths
    if (!p->var.grad().defined())
      p->var.set_grad(zeros_like(p->var.data()));  // unused in this update: Adam still decays
    grads.push_back({p->var.grad(), p->placement == Placement::ExpertSharded});
  }
  dist::sync_gradients(mesh, grads);
  return dist::gradient_norm(mesh.expert, grads);
}

bool Trainer::validate() {
  const ValidResult result = task.validate();
  const double n = std::max<double>(1, result.targets);
  const double metric =
      (config.best_checkpoint_metric == "loss" ? result.loss_sum : result.nll_sum) / n;
  const bool best = metric < best_metric;
  if (best) best_metric = metric;
  log->write_valid({{"kind", "valid"}, {"update", update}, {"epoch", task.epoch()}, {"best", best}},
                   result);
  return best;
}

void Trainer::save(bool best, bool last) {
  if (!writer) return;
  if (writer->in_flight()) finish_save(false);  // the save before
  Snapshot s;
  s.update = update;
  s.tensors = checkpoint_entries(parameters(task.model()), &optimizer);
  s.state = {{"update", update},
             {"best_metric", best_metric},
             {"data", task.data_state().dump()},
             {"seed", config.seed},
             {"ranks", int64_t(runtime.world.size())}};
  s.config = config_toml;
  s.tokenizer = task.tokenizer_model();
  s.vocabulary = task.vocabulary();
  writer->begin(s, best);
  if (last || !config.async_write) finish_save(last);
}

void Trainer::finish_save(bool last) {
  const std::string error = writer->finish();
  if (error.empty()) return;
  user_check(!last, "the last checkpoint could not be written: " + error);
  ++failed_saves;
  if (runtime.world.rank() == 0) std::cerr << "warning: checkpoint not written: " << error << "\n";
}

}  // namespace switchyard
