// Adam in one pass over gradient, parameter and both moments (formulas: kernels.h).
#include "tensor/cpu/loops.h"

namespace switchyard::cpu {

void adam_step(const Tensor& g, const AdamSpec& spec, Tensor& p, Tensor& m, Tensor& v) {
  check_numel("adam_step", g.numel(), p, m, v);
  check(spec.step >= 1, "adam_step: steps count from 1");
  const double c1 = 1 - std::pow(spec.beta1, double(spec.step));
  const double c2 = 1 - std::pow(spec.beta2, double(spec.step));
  FLOAT_DISPATCH(g.dtype(), T, {
    const T* pg = g.data<T>();
    T *pp = p.data<T>(), *pm = m.data<T>(), *pv = v.data<T>();
    const T gs = T(spec.gradient_scale), b1 = T(spec.beta1), b2 = T(spec.beta2), eps = T(spec.eps);
    const T a1 = T(1 - spec.beta1), a2 = T(1 - spec.beta2);
    const T keep = T(1 - spec.lr * spec.weight_decay);
    // sqrt(v / c2) + eps (AdamW) or sqrt(v) + eps (fairseq): the correction sits in another place
    const T root = T(spec.decoupled ? 1 / std::sqrt(c2) : 1.0);
    const T rate = T(spec.decoupled ? spec.lr / c1 : spec.lr * std::sqrt(c2) / c1);
    each_element(g.numel(), [=](int64_t i) {
      const T gi = pg[i] * gs;
      const T mi = std::fma(b1, pm[i], a1 * gi), vi = std::fma(b2, pv[i], a2 * gi * gi);
      pm[i] = mi, pv[i] = vi;
      pp[i] = std::fma(-rate, mi / std::fma(std::sqrt(vi), root, eps), pp[i] * keep);
    });
  });
}

}  // namespace switchyard::cpu
