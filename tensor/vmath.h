// Our own exp, log and erf for f32: branch-free, with explicit fma, so that a loop over them vectorises
// and gives the same bits in a vector register, in a scalar tail, and on every instruction set.
// Errors: about 1 ulp. Results and arguments below the normal range count as 0 (as with FTZ/DAZ).
// f64 serves gradient checks: there the C library's functions do.
// Sources: exp: Cephes; log: FreeBSD msun e_logf.c; erf: N. Juffa.
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

inline constexpr int kMantissa = 23, kBias = 127;
inline constexpr float kRound = 0x1.8p23f;  // x + kRound - kRound: nearest integer
inline constexpr float kLn2High = 6.9313812256e-01f, kLn2Low = 9.0580006145e-06f;

// Horner's rule, highest coefficient first
HD float polynomial(float, float c) { return c; }
template <class... C>
HD float polynomial(float x, float c0, float c1, C... rest) {
  return polynomial(x, std::fma(c0, x, c1), rest...);
}

// 2^n for an integer-valued n: adding the bias leaves n's exponent field in the low bits
HD float power_of_two(float n) {
  const auto bits = __builtin_bit_cast(uint32_t, n + (kRound + float(kBias)));
  return __builtin_bit_cast(float, bits << kMantissa);
}

// e^x = 2^n e^r,  n = round(x / ln 2);  2^n in two factors, as n may be one beyond the exponent range
HD float exp(float x) {
  constexpr float least = -87.336544f, most = 89.0f;
  float z = x > most ? most : x;  // comparisons let a NaN pass
  z = z < least ? least : z;
  const float n = std::fma(z, 1.4426950408889634074f, kRound) - kRound;
  const float r = std::fma(-n, kLn2Low, std::fma(-n, kLn2High, z));
  const float p = polynomial(r, 1.9875691500e-4f, 1.3981999507e-3f, 8.3334519073e-3f,
                             4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f);
  const float half = std::fma(n, 0.5f, kRound) - kRound;
  const float y = (std::fma(p, r * r, r) + 1.0f) * power_of_two(half) * power_of_two(n - half);
  return x < least ? 0.0f : y;
}
HD double exp(double x) { return std::exp(x); }

// log x = e ln 2 + log m,  m = 1 + f in [sqrt(1/2), sqrt(2));
// log(1 + f) = f - f^2/2 + s (f^2/2 + R(s^2)),  s = f / (2 + f)
HD float log(float x) {
  constexpr uint32_t one = uint32_t(kBias) << kMantissa;
  constexpr uint32_t root = __builtin_bit_cast(uint32_t, 0.70710678118654752440f);
  constexpr float two_to_mantissa = 0x1p23f, inf = std::numeric_limits<float>::infinity();
  const uint32_t shifted = __builtin_bit_cast(uint32_t, x) - root;
  const float m = __builtin_bit_cast(float, (shifted & ((1u << kMantissa) - 1)) + root);
  // exponent e + bias, put under the bits of 2^mantissa
  constexpr uint32_t scale = uint32_t(kBias + kMantissa) << kMantissa;
  const float e = __builtin_bit_cast(float, ((shifted + one) >> kMantissa) | scale) -
                  (two_to_mantissa + float(kBias));
  const float f = m - 1.0f, s = f / (2.0f + f), h = 0.5f * f * f, z = s * s;
  const float tail =
      z * polynomial(z, 0xf89e26.0p-26f, 0x91e9ee.0p-25f, 0xccce13.0p-25f, 0xaaaaaa.0p-24f);
  float y = std::fma(e, kLn2High, f - (h - std::fma(s, h + tail, e * kLn2Low)));
  y = x < std::numeric_limits<float>::min() ? -inf : y;
  y = x < 0.0f ? std::numeric_limits<float>::quiet_NaN() : y;
  return x < inf ? y : x;  // inf and NaN
}
HD double log(double x) { return std::log(x); }

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
HD double erf(double x) { return std::erf(x); }

}  // namespace switchyard::vmath
