// Our own exp, log, tanh and erf: branch-free, with explicit fma, so that a loop over them vectorises
// and gives the same bits in a vector register, in a scalar tail, and on every instruction set.
// Errors: about 1 ulp. Results and arguments below the normal range count as 0 (as with FTZ/DAZ).
// Sources: exp, tanh: Cephes; log: FreeBSD msun e_log.c, e_logf.c; erf: N. Juffa (float).
#pragma once
#include <cmath>
#include <cstdint>
#include <limits>

#ifdef __CUDACC__
#define HD __host__ __device__ __forceinline__
#else
#define HD __attribute__((always_inline)) inline
#endif

namespace switchyard::vmath {

template <class T>
struct Format;
template <>
struct Format<float> {
  using Bits = uint32_t;
  static constexpr int mantissa = 23, bias = 127;
  static constexpr float round = 0x1.8p23f;  // x + round - round: nearest integer
  static constexpr float ln2_hi = 6.9313812256e-01f, ln2_lo = 9.0580006145e-06f;
  static constexpr float exp_min = -87.336544f, exp_max = 89.0f;
};
template <>
struct Format<double> {
  using Bits = uint64_t;
  static constexpr int mantissa = 52, bias = 1023;
  static constexpr double round = 0x1.8p52;
  static constexpr double ln2_hi = 6.93147180369123816490e-01, ln2_lo = 1.90821492927058770002e-10;
  static constexpr double exp_min = -708.396418532264, exp_max = 710.0;
};

// Horner's rule, highest coefficient first
template <class T>
HD T polynomial(T, T c) {
  return c;
}
template <class T, class... C>
HD T polynomial(T x, T c0, T c1, C... rest) {
  return polynomial(x, std::fma(c0, x, c1), rest...);
}

// 2^n for an integer-valued n: adding the bias leaves n's exponent field in the low bits
template <class T>
HD T power_of_two(T n) {
  using F = Format<T>;
  const auto bits = __builtin_bit_cast(typename F::Bits, n + (F::round + T(F::bias)));
  return __builtin_bit_cast(T, bits << F::mantissa);
}

// e^r on |r| <= ln(2)/2
HD float exp_core(float r) {
  const float p = polynomial(r, 1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                             4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f);
  return std::fma(p, r * r, r) + 1.0f;
}
HD double exp_core(double r) {
  const double p =
      polynomial(r, 1. / 6227020800, 1. / 479001600, 1. / 39916800, 1. / 3628800, 1. / 362880,
                 1. / 40320, 1. / 5040, 1. / 720, 1. / 120, 1. / 24, 1. / 6, 0.5);
  return std::fma(p, r * r, r) + 1.0;
}

// e^x = 2^n e^r,  n = round(x / ln 2);  2^n in two factors, as n may be one beyond the exponent range
template <class T>
HD T exp(T x) {
  using F = Format<T>;
  T z = x > F::exp_max ? F::exp_max : x;  // comparisons let a NaN pass
  z = z < F::exp_min ? F::exp_min : z;
  const T n = std::fma(z, T(1.4426950408889634074), F::round) - F::round;
  const T r = std::fma(-n, F::ln2_lo, std::fma(-n, F::ln2_hi, z));
  const T half = std::fma(n, T(0.5), F::round) - F::round;
  const T y = exp_core(r) * power_of_two(half) * power_of_two(n - half);
  return x < F::exp_min ? T(0) : y;
}

// log(1 + f) = f - f^2/2 + s (f^2/2 + R(s^2)),  s = f / (2 + f)
HD float log_core(float z) {
  return z * polynomial(z, 0xf89e26.0p-26f, 0x91e9ee.0p-25f, 0xccce13.0p-25f, 0xaaaaaa.0p-24f);
}
HD double log_core(double z) {
  return z * polynomial(z, 1.479819860511658591e-01, 1.531383769920937332e-01,
                        1.818357216161805012e-01, 2.222219843214978396e-01,
                        2.857142874366239149e-01, 3.999999999940941908e-01,
                        6.666666666666735130e-01);
}

// log x = e ln 2 + log m,  m in [sqrt(1/2), sqrt(2))
template <class T>
HD T log(T x) {
  using F = Format<T>;
  using Bits = typename F::Bits;
  constexpr Bits one = Bits(F::bias) << F::mantissa;
  constexpr Bits root = __builtin_bit_cast(Bits, T(0.70710678118654752440));
  const Bits shifted = __builtin_bit_cast(Bits, x) - root;
  const T m = __builtin_bit_cast(T, (shifted & ((Bits(1) << F::mantissa) - 1)) + root);
  // exponent e + bias, put under the bits of 2^mantissa
  const Bits scale = Bits(F::bias + F::mantissa) << F::mantissa;
  const T e = __builtin_bit_cast(T, ((shifted + one) >> F::mantissa) | scale) -
              (T(Bits(1) << F::mantissa) + T(F::bias));
  const T f = m - T(1), s = f / (T(2) + f), h = T(0.5) * f * f;
  const T tail = std::fma(s, h + log_core(s * s), e * F::ln2_lo);
  T y = std::fma(e, F::ln2_hi, f - (h - tail));
  constexpr T inf = std::numeric_limits<T>::infinity();
  y = x < std::numeric_limits<T>::min() ? -inf : y;
  y = x < T(0) ? std::numeric_limits<T>::quiet_NaN() : y;
  return x < inf ? y : x;  // inf and NaN
}

// tanh x = x + x^3 P(x^2) near 0, by a polynomial (float) or a rational function (double)
HD float tanh_core(float z) {
  return polynomial(z, -5.70498872745e-3f, 2.06390887954e-2f, -5.37397155531e-2f, 1.33314422036e-1f,
                    -3.33332819422e-1f);
}
HD double tanh_core(double z) {
  return polynomial(z, -9.64399179425052238628e-1, -9.92877231001918586564e1,
                    -1.61468768441708447952e3) /
         polynomial(z, 1.0, 1.12811678491632931402e2, 2.23548839060100448583e3,
                    4.84406305325125486048e3);
}
template <class T>
HD T tanh(T x) {
  const T t = std::fabs(x), z = x * x;
  const T near = std::fma(x * z, tanh_core(z), x);
  const T far = std::copysign(T(1) - T(2) / (vmath::exp(t + t) + T(1)), x);
  return t < T(0.625) ? near : far;
}

HD float erf(float x) {
  const float t = std::fabs(x), z = x * x;
  const float near = polynomial(z, -5.96761703e-4f, 4.99119423e-3f, -2.67681349e-2f, 1.12819925e-1f,
                                -3.76125336e-1f, 1.28379166e-1f);
  const float c = t > 4.0f ? 4.0f : t;  // erf is 1 from 3.92 on; NaN passes
  const float far = polynomial(c, -1.72853470e-5f, 3.83197126e-4f, -3.88396438e-3f, 2.42546219e-2f,
                               -1.06777877e-1f, -6.34846687e-1f, -1.28717512e-1f);
  const float y = std::copysign(1.0f - vmath::exp(std::fma(far, c, -c)), x);
  return t > 0.927734375f ? y : std::fma(near, x, x);
}
HD double erf(double x) { return ::erf(x); }  // f64 serves gradient checks

}  // namespace switchyard::vmath
