// The driver makes the maps; its function is found without linking its library.
#include "tensor/cuda/tensor_map.h"

namespace switchyard::cuda {
namespace {

decltype(&cuTensorMapEncodeTiled) encode_function() {
  static const auto found = [] {
    void* entry = nullptr;
    cudaDriverEntryPointQueryResult result;
    const bool there =
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000, cudaEnableDefault,
                                         &result) == cudaSuccess &&
        result == cudaDriverEntryPointSuccess;
    if (!there) cudaGetLastError();
    return there ? reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(entry) : nullptr;
  }();
  return found;
}

}  // namespace

bool tensor_maps_available() { return encode_function() != nullptr; }

CUtensorMap tensor_map(const BFloat16* data, int64_t columns, int64_t rows, int64_t groups,
                       int box_rows) {
  check(tensor_maps_available(), "this driver makes no tensor maps");
  const cuuint64_t size[3] = {cuuint64_t(columns), cuuint64_t(rows), cuuint64_t(groups)};
  const cuuint64_t pitch[2] = {size[0] * 2, size[0] * size[1] * 2};  // bytes
  const cuuint32_t box[3] = {64, cuuint32_t(box_rows), 1}, step[3] = {1, 1, 1};
  CUtensorMap map;
  const CUresult status = encode_function()(
      &map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, const_cast<BFloat16*>(data), size, pitch, box,
      step, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
      CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  check(status == CUDA_SUCCESS, concat("cuTensorMapEncodeTiled: error ", int(status), " for ",
                                       groups, " matrices of ", rows, " x ", columns));
  return map;
}

}  // namespace switchyard::cuda
