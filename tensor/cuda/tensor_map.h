// What TMA fetches from: a stack of row-major bf16 matrices [groups, rows, columns], cut in boxes of 64 columns
// (128 bytes) x box_rows, which arrive with the 128-byte swizzle; zeros beyond the matrix.
#pragma once
#include <cuda.h>

#include "tensor/cuda/context.h"

namespace switchyard::cuda {

bool tensor_maps_available();  // the driver can make them
CUtensorMap tensor_map(const BFloat16* data, int64_t columns, int64_t rows, int64_t groups,
                       int box_rows);

}  // namespace switchyard::cuda
