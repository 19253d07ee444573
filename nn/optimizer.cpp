#include "nn/optimizer.h"

#include <algorithm>
#include <cstdio>
#include <tuple>

#include "tensor/kernels.h"

namespace switchyard {

std::pair<double, double> parse_betas(const std::string& text) {
  double a = -1, b = -1;
  int end = 0;
  const bool read = std::sscanf(text.c_str(), " ( %lf , %lf )%n", &a, &b, &end) == 2 && end > 0;
  const bool bare =
      !read && std::sscanf(text.c_str(), " %lf , %lf%n", &a, &b, &end) == 2 && end > 0;
  const bool whole = (read || bare) && text.find_first_not_of(' ', end) == std::string::npos;
  user_check(whole && a >= 0 && a < 1 && b >= 0 && b < 1,
             "--adam-betas '" + text + "': expected two numbers below 1, as '(0.9, 0.98)'");
  return {a, b};
}

double clip_factor(double norm, double limit) {
  return limit > 0 ? std::min(1.0, limit / (norm + 1e-6)) : 1.0;
}

Optimizer::Optimizer(const OptimConfig& config) : config_(config) {
  config.validate();
  std::tie(beta1_, beta2_) = parse_betas(config.adam_betas);
}

Optimizer::Slot& Optimizer::slot(const std::string& path, const Param& p) {
  Slot& s = slots_[path];
  if (!s.m.defined()) s = {zeros_like(p.var.data()), zeros_like(p.var.data()), 0};
  check(s.m.shape() == p.var.shape() && s.v.shape() == p.var.shape(),
        concat("optimizer state of ", path, " is ", to_string(s.m.shape()), ", the parameter ",
               to_string(p.var.shape())));
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
                        .step = ++s.step,
                        .gradient_scale = gradient_scale};
    Tensor value = p->var.data();
    const Tensor& grad = p->var.grad();
    adam_step(grad.defined() ? grad : zeros_like(value), spec, value, s.m, s.v);
  }
}

}  // namespace switchyard
