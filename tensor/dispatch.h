// KERNEL(name, parameters...): declares cpu::name and cuda::name, and a function that calls the
// twin of the device on which the first tensor argument lives.
#pragma once
#include "tensor/tensor.h"

namespace switchyard {

inline Device device_of(const Tensor& t) { return t.device(); }
template <class First, class... Rest>
Device device_of(const First& first, const Rest&... rest) {
  if constexpr (std::is_same_v<First, Tensor>) {
    if (first.defined()) return first.device();
  }
  if constexpr (sizeof...(rest) > 0) return device_of(rest...);
  else return Device::CPU;
}

template <auto CpuFn, auto CudaFn> struct OnDevice;
template <class... A, void (*CpuFn)(A...), void (*CudaFn)(A...)>
struct OnDevice<CpuFn, CudaFn> {
  void operator()(A... args) const {
    if (device_of(args...) == Device::CPU) return CpuFn(args...);
    if constexpr (CudaFn != nullptr) return CudaFn(args...);
    else throw Error("this binary was built without CUDA");
  }
};

#ifdef SWITCHYARD_CUDA
#define SWITCHYARD_CUDA_TWIN(name, ...) &cuda::name
#else
#define SWITCHYARD_CUDA_TWIN(name, ...) static_cast<void (*)(__VA_ARGS__)>(nullptr)
#endif

// A template, so that a differentiable op of the same name (autograd/ops.h) is another overload.
#define KERNEL(name, ...)                                                      \
  namespace cpu {                                                              \
  void name(__VA_ARGS__);                                                      \
  }                                                                            \
  namespace cuda {                                                             \
  void name(__VA_ARGS__);                                                      \
  }                                                                            \
  template <class... T>                                                        \
    requires requires(T&&... args) { cpu::name(args...); }                     \
  void name(T&&... args) {                                                     \
    OnDevice<&cpu::name, SWITCHYARD_CUDA_TWIN(name, __VA_ARGS__)>{}(args...);  \
  }

}  // namespace switchyard
