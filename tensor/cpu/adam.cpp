// Adam in one pass over gradient, parameter and both moments (formulas: kernels.h).
#include "tensor/cpu/loops.h"

namespace switchyard::cpu {

void adam_step(const Tensor& g, const AdamSpec& spec, Tensor& p, Tensor& m, Tensor& v) {
  check(spec.step >= 1, "adam_step: steps count from 1");
  const double c1 = 1 - std::pow(spec.beta1, double(spec.step));
  const double c2 = 1 - std::pow(spec.beta2, double(spec.step));
  // sqrt(v / c2) + eps (AdamW) or sqrt(v) + eps (fairseq): the correction sits in another place
  const double root = spec.decoupled ? 1 / std::sqrt(c2) : 1.0;
  const double rate = spec.decoupled ? spec.lr / c1 : spec.lr * std::sqrt(c2) / c1;
  const double keep = 1 - spec.lr * spec.weight_decay;
  each_element("adam_step", {g, p, m, v}, [=]<class T>(T g, T& p, T& m, T& v) {
    const T b1 = T(spec.beta1), a1 = T(1 - spec.beta1), b2 = T(spec.beta2), a2 = T(1 - spec.beta2);
    const T gi = g * T(spec.gradient_scale);
    m = std::fma(b1, m, a1 * gi);
    v = std::fma(b2, v, a2 * gi * gi);
    p = std::fma(-T(rate), m / std::fma(std::sqrt(v), T(root), T(spec.eps)), p * T(keep));
  });
}

}  // namespace switchyard::cpu
