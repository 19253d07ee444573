// Adam of one element, shared by host and device: in one pass over gradient, parameter and both moments
// (formulas: kernels.h).
#pragma once
#include "tensor/kernels.h"

namespace switchyard::ops {

struct Adam {
  explicit Adam(const AdamSpec& s)
      : b1(s.beta1), b2(s.beta2), eps(s.eps), gradient_scale(s.gradient_scale) {
    check(s.step >= 1, "adam_step: steps count from 1");
    const double c1 = 1 - std::pow(s.beta1, double(s.step));
    const double c2 = 1 - std::pow(s.beta2, double(s.step));
    // sqrt(v / c2) + eps (AdamW) or sqrt(v) + eps (fairseq): the correction sits in another place
    root = s.decoupled ? 1 / std::sqrt(c2) : 1.0;
    rate = s.decoupled ? s.lr / c1 : s.lr * std::sqrt(c2) / c1;
    keep = 1 - s.lr * s.weight_decay;
  }
  double b1, b2, eps, gradient_scale, root, rate, keep;

  template <class T>
  HD void operator()(T g, T& p, T& m, T& v) const {
    const T gi = g * T(gradient_scale);
    m = std::fma(T(b1), m, T(1 - b1) * gi);
    v = std::fma(T(b2), v, T(1 - b2) * gi * gi);
    p = std::fma(-T(rate), m / std::fma(std::sqrt(v), T(root), T(eps)), p * T(keep));
  }
};

}  // namespace switchyard::ops
