// Elementwise kernels, type conversion, and the forward and backward loops of all unary functors.
#include "tensor/cpu/loops.h"

namespace switchyard::cpu {

void fill(double value, Tensor& y) {
  with_type(y.dtype(), [&](auto type) {
    using T = decltype(type);
    each_element(y.numel(), [p = y.data<T>(), v = static_cast<T>(value)](int64_t i) { p[i] = v; });
  });
}

void convert(const Tensor& x, Tensor& y) {
  check_numel("convert", x.numel(), y);
  with_type(x.dtype(), [&](auto from) {
    with_type(y.dtype(), [&](auto to) {
      using To = decltype(to);
      each_element(x.numel(), [px = x.data<decltype(from)>(), py = y.data<To>()](int64_t i) {
        py[i] = static_cast<To>(px[i]);  // bf16 converts through f32
      });
    });
  });
}

void add(const Tensor& a, const Tensor& b, Tensor& y) {
  map_elements(
      "add", y, [](auto u, auto v) { return u + v; }, a, b);
}
void multiply(const Tensor& a, const Tensor& b, Tensor& y) {
  map_elements(
      "multiply", y, [](auto u, auto v) { return u * v; }, a, b);
}
void scale(double alpha, const Tensor& x, Tensor& y) {
  map_elements(
      "scale", y, [=](auto v) { return decltype(v)(alpha) * v; }, x);
}
void axpy(double alpha, const Tensor& x, Tensor& y) {
  map_elements(
      "axpy", y, [=](auto u, auto v) { return std::fma(decltype(u)(alpha), u, v); }, x, y);
}

void add_row(const Tensor& x, const Tensor& row, Tensor& y) {
  const int64_t n = rows_of(x), c = columns_of(x);
  check_numel("add_row", c, row), check_numel("add_row", n * c, y);
  FLOAT_DISPATCH(x.dtype(), T, {
    each_row(n, c, [=, px = x.data<T>(), pr = row.data<T>(), py = y.data<T>()](int64_t i) {
      vector_loop(0, c, [=](int64_t j) { py[i * c + j] = px[i * c + j] + pr[j]; });
    });
  });
}

void scale_rows(const Tensor& x, const Tensor& s, Tensor& y) {
  const int64_t n = rows_of(x), c = columns_of(x);
  check_numel("scale_rows", n, s), check_numel("scale_rows", n * c, y);
  FLOAT_DISPATCH(x.dtype(), T, {
    each_row(n, c, [=, px = x.data<T>(), ps = s.data<T>(), py = y.data<T>()](int64_t i) {
      vector_loop(0, c, [=, factor = ps[i]](int64_t j) { py[i * c + j] = factor * px[i * c + j]; });
    });
  });
}

// The functor gives both loops: y = f(x), dx = dy * df(x, y).
#define SWITCHYARD_UNARY(name, F)                                                        \
  void name##_forward(const Tensor& x, Tensor& y) {                                      \
    map_elements(                                                                        \
        #name, y, [](auto u) { return F::f(u); }, x);                                    \
  }                                                                                      \
  void name##_backward(const Tensor& x, const Tensor& y, const Tensor& dy, Tensor& dx) { \
    map_elements(                                                                        \
        #name, dx, [](auto u, auto v, auto d) { return d * F::df(u, v); }, x, y, dy);    \
  }
SWITCHYARD_UNARY_OPS(SWITCHYARD_UNARY)

}  // namespace switchyard::cpu
