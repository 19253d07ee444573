// The matrix product for AVX-512: tiles of 12 x 32 floats or 12 x 16 doubles (24 accumulators of 32).
// The only file compiled for AVX-512. All its functions are in an anonymous namespace, and it includes
// nothing with shared inline functions: the linker could otherwise keep their AVX-512 copies for all.
#include "tensor/cpu/gemm.h"

namespace switchyard::cpu {

const Multiply<float> kAvx512F32 = blocked_product<_mm512_fmadd_ps, 12, float>;
const Multiply<double> kAvx512F64 = blocked_product<_mm512_fmadd_pd, 12, double>;

}  // namespace switchyard::cpu
