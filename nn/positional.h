// Sinusoidal positions (Vaswani et al. 2017, in fairseq's form): rate_k = exp(-k ln(10000) / (half - 1)),
// half = d / 2; the first half of a row is sin(pos rate_k), the second cos(pos rate_k).
// pos = pad index + (number of the token among the non-pad tokens of its sentence, from 1); padding rows
// are zero. No parameters and no longest position: the table grows when a longer sentence comes.
#pragma once
#include "tensor/tensor.h"

namespace switchyard {

class SinusoidalPositions {
 public:
  SinusoidalPositions(int64_t width, int64_t pad, DType dtype = DType::F32)
      : width_(width), pad_(pad), dtype_(dtype) {}

  // ids i64 [B, T], of sentences that already have `earlier` tokens -> [B*T, d]
  Tensor forward(const Tensor& ids, int64_t earlier = 0);

 private:
  int64_t width_, pad_;
  DType dtype_;
  Tensor table_;  // [positions so far, d]
};

}  // namespace switchyard
