// Adam (Kingma & Ba 2015) in fairseq's form, and AdamW (Loshchilov & Hutter 2019); equations in
// tensor/kernels.h. Moments and step counter are kept for each parameter and found by its path, so that a
// model may gain and lose parameters between updates, and a checkpoint holds them under the same names.
#pragma once
#include <map>

#include "nn/module.h"

namespace switchyard {

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
  void validate() const;  // UserError
};

// The learning rate of update u (u = updates done before it):
//   inverse_sqrt       lr sqrt(warmup / u)
//   polynomial_decay   (lr - end) (1 - (u - warmup) / (total - warmup))^power + end
//   cosine             min + (lr - min) (1 + cos(pi (u - warmup) / (total - warmup))) / 2
//   fixed              lr
// each after a linear warm-up from warmup-init-lr. Source: fairseq's schedulers; specs/hmoe.md 3.
double learning_rate(const OptimConfig& config, int64_t update);

std::pair<double, double> parse_betas(const std::string& text);  // "(0.9, 0.98)"; UserError

// Factor that brings a gradient norm down to `limit`; 1 without a limit (0).
double clip_factor(double norm, double limit);

class Optimizer {
 public:
  struct Slot {
    Tensor m, v;  // of the parameter's shape and dtype
    Tensor step;  // i64 [1]: updates this parameter has had
  };

  explicit Optimizer(const OptimConfig& config);

  // What to train; again whenever the set of parameters changed. State of paths that are gone is dropped.
  void set_parameters(std::vector<NamedParam> params);
  // One update with the gradients times gradient_scale (1/N times the clipping factor). A parameter
  // without a gradient counts as zeros: its moments decay. Gradients are left as they are.
  void step(double lr, double gradient_scale);

  // The state by path, for checkpoints. slot(): that of parameter p, empty if it had none.
  Slot& slot(const std::string& path, const Param& p);
  const std::map<std::string, Slot>& slots() const { return slots_; }

 private:
  OptimConfig config_;
  double beta1_, beta2_;
  std::vector<NamedParam> params_;
  std::map<std::string, Slot> slots_;
};

}  // namespace switchyard
