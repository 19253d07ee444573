// The matrix product for AVX-512: tiles of 12 x 32 floats or 12 x 16 doubles (24 accumulators of 32).
// The only file compiled for AVX-512. All its functions are in an anonymous namespace, and it includes
// nothing with shared inline functions: the linker could otherwise keep their AVX-512 copies for all.
#include "tensor/cpu/gemm.h"

namespace switchyard::cpu {
namespace {

struct F32 {
  using Vector = __m512;
  static constexpr int width = 16, rows = 12;
  static Vector zero() { return _mm512_setzero_ps(); }
  static Vector load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, Vector x) { _mm512_storeu_ps(p, x); }
  static Vector broadcast(const float* p) { return _mm512_set1_ps(*p); }
  static Vector fma(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
  static Vector add(Vector a, Vector b) { return _mm512_add_ps(a, b); }
};
struct F64 {
  using Vector = __m512d;
  static constexpr int width = 8, rows = 12;
  static Vector zero() { return _mm512_setzero_pd(); }
  static Vector load(const double* p) { return _mm512_loadu_pd(p); }
  static void store(double* p, Vector x) { _mm512_storeu_pd(p, x); }
  static Vector broadcast(const double* p) { return _mm512_set1_pd(*p); }
  static Vector fma(Vector a, Vector b, Vector c) { return _mm512_fmadd_pd(a, b, c); }
  static Vector add(Vector a, Vector b) { return _mm512_add_pd(a, b); }
};

}  // namespace

const GemmIsa<float> kAvx512F32 = isa_of<F32, float>();
const GemmIsa<double> kAvx512F64 = isa_of<F64, double>();

}  // namespace switchyard::cpu
