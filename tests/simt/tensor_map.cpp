// Tensor maps of the emulated GPU, with the rules of the driver's.
#include "tensor/cuda/tensor_map.h"

namespace switchyard::cuda {

bool tensor_maps_available() { return true; }

CUtensorMap tensor_map(const BFloat16* data, int64_t columns, int64_t rows, int64_t groups,
                       int box_rows) {
  check(columns > 0 && rows > 0 && groups > 0 && columns % 8 == 0 && box_rows >= 1 &&
            box_rows <= 256 && reinterpret_cast<uintptr_t>(data) % 16 == 0,
        "tensor_map: sizes that the driver would refuse");
  return {reinterpret_cast<const uint16_t*>(data), columns, rows, groups, box_rows};
}

}  // namespace switchyard::cuda
