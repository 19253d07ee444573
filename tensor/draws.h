// What the random kernels make of 32 random bits, shared by host and device.
#pragma once
#include "tensor/check.h"
#include "tensor/rng.h"

namespace switchyard::draws {

// Inverse of the normal distribution function, u in (0, 1): sqrt(2) erfinv(2u - 1).
// Source: M. Giles, "Approximating the erfinv function" (2010), single precision
HD float normal_quantile(float u) {
  const float x = 2.0f * u - 1.0f;
  const float w = -vmath::log(4.0f * u * (1.0f - u));
  const float near = vmath::polynomial(w - 2.5f, 2.81022636e-08f, 3.43273939e-07f, -3.5233877e-06f,
                                       -4.39150654e-06f, 0.00021858087f, -0.00125372503f,
                                       -0.00417768164f, 0.246640727f, 1.50140941f);
  const float far = vmath::polynomial(std::sqrt(w) - 3.0f, -0.000200214257f, 0.000100950558f,
                                      0.00134934322f, -0.00367342844f, 0.00573950773f,
                                      -0.0076224613f, 0.00943887047f, 1.00167406f, 2.83297682f);
  return 1.41421356f * x * (w < 5.0f ? near : far);
}

// Functions of (bits, elements...)
struct Uniform {
  double lo, hi;
  template <class T>
  HD void operator()(uint32_t bits, T& y) const {
    y = std::fma(T(hi - lo), T(unit_float(bits)), T(lo));
  }
};
struct Normal {
  double stddev;
  template <class T>
  HD void operator()(uint32_t bits, T& y) const {
    y = T(stddev) * T(normal_quantile(open_unit_float(bits)));
  }
};
struct Gumbel {
  template <class T>
  HD void operator()(uint32_t bits, T& y) const {
    y = -vmath::log(-vmath::log(T(open_unit_float(bits))));
  }
};
struct Dropout {  // y = x * [u >= p] / (1 - p)
  explicit Dropout(double p) : limit(float(p)), factor(1 / (1 - p)) {
    if (!(p >= 0 && p < 1)) throw Error(concat("dropout: probability ", p, " outside of [0, 1)"));
  }
  float limit;
  double factor;
  template <class T>
  HD void operator()(uint32_t bits, T x, T& y) const {
    y = x * (unit_float(bits) >= limit ? T(factor) : T(0));
  }
};

}  // namespace switchyard::draws
