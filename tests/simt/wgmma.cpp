// The emulated GPU has neither wgmma nor TMA: grouped_wgmma_native.cu is not part of it.
#include "tensor/cuda/grouped_gemm.h"
#include "tensor/cuda/grouped_wgmma.h"

namespace switchyard::cuda {

bool wgmma_available() { return false; }
void grouped_wgmma(const GroupedProduct&, bool) { throw Error("the emulated GPU has no wgmma"); }
void grouped_wgmma_dw(const GroupedProduct&, bool) { throw Error("the emulated GPU has no wgmma"); }

}  // namespace switchyard::cuda
