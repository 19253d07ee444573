// Elementwise kernels: type conversion, arithmetic, the forward and backward loops of all unary functors,
// and Adam.
#include "tensor/cpu/loops.h"

namespace switchyard::cpu {

void fill(double value, Tensor& y) {
  with_type(y.dtype(), [&]<class T>(T) {
    element_loop(y.numel(), [p = y.data<T>(), v = static_cast<T>(value)](int64_t i) { p[i] = v; });
  });
}

void convert(const Tensor& x, Tensor& y) {
  check_numel("convert", x.numel(), y);
  with_type(x.dtype(), [&]<class From>(From) {
    with_type(y.dtype(), [&]<class To>(To) {
      element_loop(x.numel(), [px = x.data<From>(), py = y.data<To>()](int64_t i) {
        py[i] = static_cast<To>(px[i]);  // bf16 converts through f32
      });
    });
  });
}

void add(const Tensor& a, const Tensor& b, Tensor& y) {
  each_element("add", {a, b, y}, [](auto a, auto b, auto& y) { y = a + b; });
}
void multiply(const Tensor& a, const Tensor& b, Tensor& y) {
  each_element("multiply", {a, b, y}, [](auto a, auto b, auto& y) { y = a * b; });
}
void scale(double alpha, const Tensor& x, Tensor& y) {
  each_element("scale", {x, y}, [=]<class T>(T x, T& y) { y = T(alpha) * x; });
}
void axpy(double alpha, const Tensor& x, Tensor& y) {
  each_element("axpy", {x, y}, [=]<class T>(T x, T& y) { y = std::fma(T(alpha), x, y); });
}

void scale_rows(const Tensor& x, const Tensor& s, Tensor& y) {
  each_row("scale_rows", {x, one(s), y}, [](int64_t, int64_t c, auto* x, auto* s, auto* y) {
    vector_loop(0, c, [=, factor = *s](int64_t j) { y[j] = factor * x[j]; });
  });
}

// The functor gives both loops: y = f(x), dx = dy * df(x, y).
#define SWITCHYARD_UNARY(name, F)                                                        \
  void name##_forward(const Tensor& x, Tensor& y) {                                      \
    each_element(#name, {x, y}, [](auto x, auto& y) { y = F::f(x); });                   \
  }                                                                                      \
  void name##_backward(const Tensor& x, const Tensor& y, const Tensor& dy, Tensor& dx) { \
    each_element(#name, {x, y, dy, dx},                                                  \
                 [](auto x, auto y, auto dy, auto& dx) { dx = dy * F::df(x, y); });      \
  }
SWITCHYARD_UNARY_OPS(SWITCHYARD_UNARY)

// In one pass over gradient, parameter and both moments (formulas: kernels.h)
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
