// The matrix product for AVX2: tiles of 6 x 16 floats or 6 x 8 doubles (12 accumulators of 16 registers).
#include "tensor/cpu/gemm.h"

namespace switchyard::cpu {

const Multiply<float> kAvx2F32 = blocked_product<_mm256_fmadd_ps, 6, float>;
const Multiply<double> kAvx2F64 = blocked_product<_mm256_fmadd_pd, 6, double>;

}  // namespace switchyard::cpu
