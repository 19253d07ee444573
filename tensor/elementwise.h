// The functions f and df of every elementwise op, shared by host and device: from one functor follow
// the CPU loop, the CUDA kernel and the gradient. exp, log and erf are our own (vmath.h): they give the
// same bits in a vector register and in a scalar tail, on every instruction set.
#pragma once
#include "tensor/dtype.h"
#include "tensor/vmath.h"

namespace switchyard {

struct Relu {  // y = max(x, 0)
  static HD auto f(auto x) { return x > 0 ? x : 0; }
  static HD auto df(auto x, auto) { return decltype(x)(x > 0); }
};
struct Gelu {  // y = x Phi(x), the exact form with erf
  template <class T>
  static HD T f(T x) {
    return T(0.5) * x * (T(1) + vmath::erf(x * T(0.70710678118654752440)));
  }
  template <class T>
  static HD T df(T x, T) {
    const T phi = T(0.39894228040143267794) * vmath::exp(T(-0.5) * x * x);
    return T(0.5) * (T(1) + vmath::erf(x * T(0.70710678118654752440))) + x * phi;
  }
};
struct Sigmoid {  // y = 1 / (1 + e^-x)
  static HD auto f(auto x) { return 1 / (1 + vmath::exp(-x)); }
  static HD auto df(auto, auto y) { return y * (1 - y); }
};
struct Abs {  // y = |x|
  static HD auto f(auto x) { return x < 0 ? -x : x; }
  static HD auto df(auto x, auto) { return decltype(x)(x < 0 ? -1 : 1); }
};

// name(kernel), Functor: adding an op is one functor above and one line here.
#define SWITCHYARD_UNARY_OPS(X) X(relu, Relu) X(gelu, Gelu) X(sigmoid, Sigmoid) X(abs, Abs)

// Kernels: functions of the elements at one place, inputs by value, outputs by reference
namespace ops {

// f(x...) for elements in memory: f sees bf16 as f32, and what is not const is rounded back.
template <class F, class... T>
HD void on_elements(const F& f, T&... x) {
  if constexpr (!(kRounded<T> || ...)) {
    f(x...);
  } else {
    const auto store = []<class E, class V>(E& element, const V& value) {
      if constexpr (!std::is_const_v<E>) element = static_cast<E>(value);
    };
    [&](auto... value) {
      f(value...);
      (store(x, value), ...);
    }(static_cast<Compute<T>>(x)...);
  }
}

template <class F>
struct Forward {
  HD void operator()(auto x, auto& y) const { y = F::f(x); }
};
template <class F>
struct Backward {
  HD void operator()(auto x, auto y, auto dy, auto& dx) const { dx = dy * F::df(x, y); }
};
template <class T>
struct Fill {
  T value;
  HD void operator()(auto& y) const { y = value; }
};
struct Convert {  // bf16 converts through f32
  template <class From, class To>
  HD void operator()(From x, To& y) const {
    y = static_cast<To>(x);
  }
};
struct Add {
  HD void operator()(auto a, auto b, auto& y) const { y = a + b; }
};
struct Multiply {
  HD void operator()(auto a, auto b, auto& y) const { y = a * b; }
};
struct Scale {
  double alpha;
  template <class T>
  HD void operator()(T x, T& y) const {
    y = T(alpha) * x;
  }
};
struct Axpy {
  double alpha;
  template <class T>
  HD void operator()(T x, T& y) const {
    y = std::fma(T(alpha), x, y);
  }
};

}  // namespace ops

}  // namespace switchyard
