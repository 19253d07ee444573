// The matrix product for AVX2: tiles of 6 x 16 floats or 6 x 8 doubles (12 accumulators of 16 registers).
#include "tensor/cpu/gemm.h"

namespace switchyard::cpu {
namespace {

struct F32 {
  using Vector = __m256;
  static constexpr int width = 8, rows = 6;
  static Vector zero() { return _mm256_setzero_ps(); }
  static Vector load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, Vector x) { _mm256_storeu_ps(p, x); }
  static Vector broadcast(const float* p) { return _mm256_broadcast_ss(p); }
  static Vector fma(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
  static Vector add(Vector a, Vector b) { return _mm256_add_ps(a, b); }
};
struct F64 {
  using Vector = __m256d;
  static constexpr int width = 4, rows = 6;
  static Vector zero() { return _mm256_setzero_pd(); }
  static Vector load(const double* p) { return _mm256_loadu_pd(p); }
  static void store(double* p, Vector x) { _mm256_storeu_pd(p, x); }
  static Vector broadcast(const double* p) { return _mm256_broadcast_sd(p); }
  static Vector fma(Vector a, Vector b, Vector c) { return _mm256_fmadd_pd(a, b, c); }
  static Vector add(Vector a, Vector b) { return _mm256_add_pd(a, b); }
};

}  // namespace

const GemmIsa<float> kAvx2F32 = isa_of<F32, float>();
const GemmIsa<double> kAvx2F64 = isa_of<F64, double>();

}  // namespace switchyard::cpu
