// KERNEL(name, parameters...): declares cpu::name and cuda::name, and a function that calls the
// twin of the device on which the tensor arguments live.
#pragma once
#include "tensor/tensor.h"

namespace switchyard {

#ifdef SWITCHYARD_CUDA
inline constexpr bool kBuiltWithCuda = true;
#else
inline constexpr bool kBuiltWithCuda = false;  // then Tensor::empty refuses to make CUDA tensors
#endif

template <class A>
bool on_cuda(const A& argument) {
  if constexpr (std::is_same_v<A, Tensor>) return argument.device() == Device::CUDA;
  else return false;
}

// A template, so that a differentiable op of the same name (autograd/ops.h) is another overload.
#define KERNEL(name, ...)                                     \
  namespace cpu {                                             \
  void name(__VA_ARGS__);                                     \
  }                                                           \
  namespace cuda {                                            \
  void name(__VA_ARGS__);                                     \
  }                                                           \
  template <class... T>                                       \
  requires requires(T && ... args) { cpu::name(args...); }    \
  void name(T&&... args) {                                    \
    if constexpr (kBuiltWithCuda) {                           \
      if ((on_cuda(args) || ...)) return cuda::name(args...); \
    }                                                         \
    cpu::name(args...);                                       \
  }

}  // namespace switchyard
