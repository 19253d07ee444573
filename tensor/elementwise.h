// The functions f and df of every elementwise op, shared by host and device: from one functor follow
// the CPU loop, the CUDA kernel and the gradient. exp, log and erf are our own (vmath.h): they give the
// same bits in a vector register and in a scalar tail, on every instruction set.
#pragma once
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

// name(kernel), Functor: adding an op is one functor above and one line here.
#define SWITCHYARD_UNARY_OPS(X) X(relu, Relu) X(gelu, Gelu) X(sigmoid, Sigmoid)

}  // namespace switchyard
