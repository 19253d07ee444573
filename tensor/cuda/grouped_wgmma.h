// The grouped products of grouped_wgmma.cu, with their arguments checked by grouped_mma.cu.
#pragma once
#include "tensor/cuda/grouped_kernel.h"

namespace switchyard::cuda {

void grouped_wgmma(const GroupedProduct& p, bool b_k_major);  // ragged M, k > 0
void grouped_wgmma_dw(const GroupedProduct& p, bool f32);     // ragged K, k > 0; c in f32 or bf16

}  // namespace switchyard::cuda
