// Adam (Kingma & Ba 2015) in fairseq's form, and AdamW (Loshchilov & Hutter 2019); equations in
// tensor/kernels.h. Moments and step counter are kept for each parameter and found by its path, so that a
// model may gain and lose parameters between updates, and a checkpoint holds them under the same names.
#pragma once
#include <cstdio>
#include <map>
#include <numbers>

#include "nn/module.h"

namespace switchyard {

inline std::pair<double, double> parse_betas(const std::string& text) {  // "(0.9, 0.98)"
  for (const char* form : {" ( %lf , %lf ) %n", " %lf , %lf %n"}) {
    double a = -1, b = -1;
    int end = 0;  // set when all of the form was there
    const int read = std::sscanf(text.c_str(), form, &a, &b, &end);
    if (read == 2 && size_t(end) == text.size() && a >= 0 && a < 1 && b >= 0 && b < 1)
      return {a, b};
  }
  throw UserError("--adam-betas '" + text + "': expected two numbers below 1, as '(0.9, 0.98)'");
}

struct OptimConfig {
  std::string optimizer = "adam", adam_betas = "(0.9, 0.999)", lr_scheduler = "inverse_sqrt";
  double lr = 8e-4, adam_eps = 1e-8, weight_decay = 0, clip_norm = 0;
  int64_t warmup_updates = 4000, total_num_update = 0;
  double warmup_init_lr = -1, end_learning_rate = 0, power = 1, min_lr = 0, stop_min_lr = -1;

  template <class V>
  void visit(V&& v) {
    v.group("Optimization");
    v(optimizer, "optimizer", "adam (fairseq's form) or adamw (decoupled weight decay)",
      {"adam", "adamw"});
    v(lr, "lr", "learning rate after the warm-up");
    v(adam_betas, "adam-betas", "decay of the two moments, as '(0.9, 0.98)'");
    v(adam_eps, "adam-eps", "added to the root of the second moment");
    v(weight_decay, "weight-decay", "weight decay");
    v(clip_norm, "clip-norm", "largest global gradient norm; 0 = no clipping");
    v(lr_scheduler, "lr-scheduler", "learning rate after the warm-up",
      {"inverse_sqrt", "polynomial_decay", "polynomial", "cosine", "fixed"});
    v(warmup_updates, "warmup-updates", "updates of linear warm-up");
    v(warmup_init_lr, "warmup-init-lr", "learning rate of the first update; -1 = 0");
    v(total_num_update, "total-num-update",
      "polynomial, cosine: update at which the rate is lowest");
    v(end_learning_rate, "end-learning-rate", "polynomial: lowest rate");
    v(power, "power", "polynomial: exponent");
    v(min_lr, "min-lr", "cosine: lowest rate");
    v(stop_min_lr, "stop-min-lr", "end training when the rate falls to this");
  }
  void validate() const {  // UserError
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
};

// The learning rate of update u (u = updates done before it):
//   inverse_sqrt       lr sqrt(warmup / u)
//   polynomial_decay   (lr - end) (1 - (u - warmup) / (total - warmup))^power + end
//   cosine             min + (lr - min) (1 + cos(pi (u - warmup) / (total - warmup))) / 2
//   fixed              lr
// each after a linear warm-up from warmup-init-lr. Source: fairseq's schedulers; specs/hmoe.md 3.
inline double learning_rate(const OptimConfig& c, int64_t update) {
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

// Factor that brings a gradient norm down to `limit`; 1 without a limit (0).
inline double clip_factor(double norm, double limit) {
  return limit > 0 ? std::min(1.0, limit / (norm + 1e-6)) : 1.0;
}

class Optimizer {
 public:
  struct Slot {
    Tensor m, v;  // of the parameter's shape and dtype
    Tensor step;  // i64 [1]: updates this parameter has had
  };

  explicit Optimizer(const OptimConfig& config) : config_(config) { config_.validate(); }

  // What to train; again whenever the set of parameters changed. State of paths that are gone is dropped.
  void set_parameters(std::vector<NamedParam> params) {
    params_ = std::move(params);
    std::map<std::string, Slot> kept;
    for (const auto& [path, p] : params_) kept[path] = slot(path, *p);
    slots_ = std::move(kept);
  }
  // One update with the gradients times gradient_scale (1/N times the clipping factor). A parameter
  // without a gradient counts as zeros: its moments decay. Gradients are left as they are.
  void step(double lr, double gradient_scale) {
    const auto [beta1, beta2] = parse_betas(config_.adam_betas);
    for (const auto& [path, p] : params_) {
      Slot& s = slots_.at(path);
      const AdamSpec spec{.lr = lr,
                          .beta1 = beta1,
                          .beta2 = beta2,
                          .eps = config_.adam_eps,
                          .weight_decay = config_.weight_decay,
                          .decoupled = config_.optimizer == "adamw",
                          .step = ++*s.step.data<int64_t>(),
                          .gradient_scale = gradient_scale};
      Tensor value = p->var.data();
      const Tensor& grad = p->var.grad();
      adam_step(grad.defined() ? grad : zeros_like(value), spec, value, s.m, s.v);
      p->var.data_changed();
    }
  }

  // The state by path, for checkpoints. slot(): that of parameter p, empty if it had none.
  Slot& slot(const std::string& path, const Param& p) {
    Slot& s = slots_[path];
    const Tensor& value = p.var.data();
    if (!s.m.defined()) s = {zeros_like(value), zeros_like(value), Tensor::zeros({1}, DType::I64)};
    check(s.m.shape() == value.shape(),
          concat("optimizer state of ", path, " is ", to_string(s.m.shape()), ", the parameter ",
                 to_string(value.shape())));
    return s;
  }
  const std::map<std::string, Slot>& slots() const { return slots_; }

 private:
  OptimConfig config_;
  std::vector<NamedParam> params_;
  std::map<std::string, Slot> slots_;
};

}  // namespace switchyard
