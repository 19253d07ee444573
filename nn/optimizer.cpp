#include "nn/optimizer.h"

#include <cstdio>
#include <numbers>

namespace switchyard {

std::pair<double, double> parse_betas(const std::string& text) {
  for (const char* form : {" ( %lf , %lf ) %n", " %lf , %lf %n"}) {
    double a = -1, b = -1;
    int end = 0;  // set when all of the form was there
    const int read = std::sscanf(text.c_str(), form, &a, &b, &end);
    if (read == 2 && size_t(end) == text.size() && a >= 0 && a < 1 && b >= 0 && b < 1)
      return {a, b};
  }
  throw UserError("--adam-betas '" + text + "': expected two numbers below 1, as '(0.9, 0.98)'");
}

double clip_factor(double norm, double limit) {
  return limit > 0 ? std::min(1.0, limit / (norm + 1e-6)) : 1.0;
}

void OptimConfig::validate() const {
  parse_betas(adam_betas);
  const std::pair<const char*, double> not_negative[] = {
      {"lr", lr},
      {"weight-decay", weight_decay},
      {"clip-norm", clip_norm},
      {"warmup-updates", double(warmup_updates)}};
  for (const auto& [name, value] : not_negative)
    user_check(std::isfinite(value) && value >= 0,
               concat("--", name, " is ", value, ": expected a number >= 0"));
  user_check(std::isfinite(adam_eps) && adam_eps > 0,
             concat("--adam-eps is ", adam_eps, ": expected a number > 0"));
  const bool has_end = lr_scheduler.starts_with("polynomial") || lr_scheduler == "cosine";
  user_check(!has_end || total_num_update > warmup_updates,
             concat("--total-num-update is ", total_num_update, ": --lr-scheduler ", lr_scheduler,
                    " needs more than the ", warmup_updates, " of --warmup-updates"));
}

double learning_rate(const OptimConfig& c, int64_t update) {
  const double u = double(update), warmup = double(c.warmup_updates);
  if (update < c.warmup_updates) {
    const double init = std::max(c.warmup_init_lr, 0.0);
    return init + u * (c.lr - init) / warmup;
  }
  if (c.lr_scheduler == "fixed") return c.lr;
  if (c.lr_scheduler == "inverse_sqrt")
    return c.lr * std::sqrt(std::max(warmup, 1.0) / std::max(u, 1.0));
  const double done = std::min(1.0, (u - warmup) / (double(c.total_num_update) - warmup));
  if (c.lr_scheduler == "cosine")
    return c.min_lr + (c.lr - c.min_lr) * 0.5 * (1.0 + std::cos(std::numbers::pi * done));
  return (c.lr - c.end_learning_rate) * std::pow(1.0 - done, c.power) + c.end_learning_rate;
}

Optimizer::Optimizer(const OptimConfig& config) : config_(config) {
  config.validate();
  std::tie(beta1_, beta2_) = parse_betas(config.adam_betas);
}

Optimizer::Slot& Optimizer::slot(const std::string& path, const Param& p) {
  Slot& s = slots_[path];
  const Tensor& value = p.var.data();
  if (!s.m.defined()) s = {zeros_like(value), zeros_like(value), Tensor::zeros({1}, DType::I64)};
  check(s.m.shape() == value.shape(),
        concat("optimizer state of ", path, " is ", to_string(s.m.shape()), ", the parameter ",
               to_string(value.shape())));
  return s;
}

void Optimizer::set_parameters(std::vector<NamedParam> params) {
  params_ = std::move(params);
  std::map<std::string, Slot> kept;
  for (const auto& [path, p] : params_) kept[path] = slot(path, *p);
  slots_ = std::move(kept);
}

void Optimizer::step(double lr, double gradient_scale) {
  for (const auto& [path, p] : params_) {
    Slot& s = slots_.at(path);
    const AdamSpec spec{.lr = lr,
                        .beta1 = beta1_,
                        .beta2 = beta2_,
                        .eps = config_.adam_eps,
                        .weight_decay = config_.weight_decay,
                        .decoupled = config_.optimizer == "adamw",
                        .step = ++*s.step.data<int64_t>(),
                        .gradient_scale = gradient_scale};
    Tensor value = p->var.data();
    const Tensor& grad = p->var.grad();
    adam_step(grad.defined() ? grad : zeros_like(value), spec, value, s.m, s.v);
  }
}

}  // namespace switchyard
