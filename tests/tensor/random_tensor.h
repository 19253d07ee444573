// Test inputs: tensors of standard normal draws, and comparison bit for bit.
#pragma once
#include <cstring>

#include "tensor/kernels.h"
#include "tensor/parallel.h"

namespace switchyard {

inline Tensor random_tensor(Shape shape, uint64_t id, DType type = DType::F32) {
  Tensor t = Tensor::empty(std::move(shape), type);
  random_normal(random_stream(id, "test"), 0, 1.0, t);
  return t;
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.numel() == b.numel() &&
         std::memcmp(a.raw(), b.raw(), size_t(a.bytes())) == 0;
}

}  // namespace switchyard
