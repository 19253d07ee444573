// Elementwise kernels, type conversion, and the forward and backward loops of all unary functors.
#include "tensor/cpu/loops.h"

namespace switchyard::cpu {

void fill(double value, Tensor& y) {
  with_type(y.dtype(), [&](auto type) {
    using T = decltype(type);
    element_loop(y.numel(), [p = y.data<T>(), v = static_cast<T>(value)](int64_t i) { p[i] = v; });
  });
}

void convert(const Tensor& x, Tensor& y) {
  check_numel("convert", x.numel(), y);
  with_type(x.dtype(), [&](auto from) {
    with_type(y.dtype(), [&](auto to) {
      using To = decltype(to);
      element_loop(x.numel(), [px = x.data<decltype(from)>(), py = y.data<To>()](int64_t i) {
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

void add_row(const Tensor& x, const Tensor& r, Tensor& y) {
  check_numel("add_row", columns_of(x), r);
  each_row("add_row", {x, whole(r), y}, [](int64_t, int64_t c, auto* x, auto* r, auto* y) {
    vector_loop(0, c, [=](int64_t j) { y[j] = x[j] + r[j]; });
  });
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

}  // namespace switchyard::cpu
