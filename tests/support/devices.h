// The devices that a test can use: {CPU}, or {CPU, CUDA} in a build with CUDA.
#pragma once
#include <vector>

#include "tensor/tensor.h"

namespace switchyard {

inline std::vector<Device> devices() {
#ifdef SWITCHYARD_CUDA
  return {Device::CPU, Device::CUDA};
#else
  return {Device::CPU};
#endif
}

}  // namespace switchyard
