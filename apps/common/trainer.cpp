#include "apps/common/trainer.h"

#include <chrono>
#include <cmath>

namespace switchyard {

namespace {

double now() {
  using clock = std::chrono::steady_clock;
  return std::chrono::duration<double>(clock::now().time_since_epoch()).count();
}

}  // namespace

Trainer::Trainer(const TrainConfig& config, const OptimConfig& optim, TrainTask& task,
                 dist::Runtime& runtime, const dist::Mesh& mesh, TrainState& state, TrainLog& log)
    : config_(config),
      optim_(optim),
      task_(task),
      runtime_(runtime),
      mesh_(mesh),
      state_(state),
      log_(log) {
  rebuild();
}

void Trainer::rebuild() {
  params_ = parameters(task_.model());
  grads_.clear();
  for (const NamedParam& p : params_) {
    const bool sharded = p.param->placement == Placement::ExpertSharded;
    grads_.push_back({p.path, {}, sharded, p.param->first_row, sharded ? p.param->var.dim(0) : 0});
  }
  state_.optimizer.set_parameters(params_);
}

void Trainer::fit() {
  log_.start(state_.update, config_.max_update);
  while (state_.update < config_.max_update && !stop_) {
    if (task_.evolve(state_.update)) rebuild();
    step();
    const bool last = stop_ || state_.update == config_.max_update;
    if (last || due(config_.log_interval)) log_.write_train(state_.update, task_.epoch());
    if (last || due(config_.validate_interval_updates)) validate();
    if (last || due(config_.save_interval_updates) || state_.new_best) save(last);
  }
  log_.finish(state_.update);
}

MicroBatch Trainer::micro_batch(int64_t index) {
  ForwardContext ctx;
  ctx.training = true;
  ctx.update = state_.update;
  ctx.micro_batch = index;
  ctx.seed = uint64_t(config_.seed);
  ctx.rank = runtime_.world.rank();
  MicroBatch micro = task_.next(ctx);
  log_.add_statistics(ctx.statistics);
  backward(micro.loss);
  micro.loss = {};  // the graph ends here
  return micro;
}

// What the ranks tell each other once an update, in one message.
void Trainer::step() {
  const double started = now();
  const double comm_before = runtime_.world.meter().seconds;
  StepNumbers mine(task_.auxiliary_names().size());
  double data_seconds = 0;
  for (int64_t a = 0; a < config_.update_freq; ++a) {
    const MicroBatch micro = micro_batch(a);
    mine.add(micro);
    data_seconds += micro.data_seconds;
  }
  mine.stop = runtime_.signal && runtime_.signal->load() ? 1 : 0;
  mine.shards_done = state_.shard_done() ? 1 : 0;
  const StepNumbers all = mine.sum_over(runtime_.world);

  const double norm = synchronized_norm();
  const double tokens = all.targets;
  if (!std::isfinite(all.loss) || !std::isfinite(norm))
    throw UserError(concat("update ", state_.update + 1, ": loss ",
                           all.loss / std::max(tokens, 1.0), " and gradient norm ", norm,
                           " are not finite (epoch ", task_.epoch(),
                           "); lower --lr or set --clip-norm"));
  const double mean_norm = tokens > 0 ? norm / tokens : 0;
  const double scale = tokens > 0 ? 1 / tokens : 0;
  const double lr = learning_rate(optim_, state_.update);
  state_.optimizer.step(lr, scale * clip_factor(mean_norm, optim_.clip_norm));
  for (size_t i = 0; i < params_.size(); ++i) params_[i].param->var.set_grad(grads_[i].grad = {});
  ++state_.update;
  state_.poll(int64_t(all.shards_done));
  stop_ = all.stop > 0 || (optim_.stop_min_lr > 0 && lr < optim_.stop_min_lr &&
                           state_.update > optim_.warmup_updates);

  const double seconds = now() - started, comm = runtime_.world.meter().seconds - comm_before;
  log_.add_step(all, lr, mean_norm, {seconds, data_seconds, comm});
}

double Trainer::synchronized_norm() {
  for (size_t i = 0; i < params_.size(); ++i) {
    Var& v = params_[i].param->var;
    if (!v.grad().defined())
      v.set_grad(zeros_like(v.data()));  // unused in this update: Adam still decays
    grads_[i].grad = v.grad();
  }
  dist::sync_gradients(mesh_, grads_);
  return dist::gradient_norm(mesh_.expert, grads_);
}

void Trainer::validate() {
  const ValidResult result = task_.validate();
  const double n = std::max<double>(1, result.targets);
  const double metric =
      (config_.best_checkpoint_metric == "loss" ? result.loss_sum : result.nll_sum) / n;
  state_.new_best = metric < state_.best_metric;
  if (state_.new_best) state_.best_metric = metric;
  log_.write_valid(state_.update, task_.epoch(), result, state_.new_best);
}

void Trainer::save(bool final_save) {
  log_.sync();
  const int64_t failed = state_.failed_saves();
  state_.save(task_, final_save);
  if (state_.failed_saves() > failed)
    log_.write_event(
        {{"kind", "warning"}, {"update", state_.update}, {"failed_saves", state_.failed_saves()}});
}

}  // namespace switchyard
