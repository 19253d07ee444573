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

  Tensor forward(const Tensor& ids);       // i64 [B, T] -> [B*T, d]
  Tensor at(int64_t rows, int64_t index);  // [rows, d]: all tokens are number `index`, from 0

 private:
  Tensor look_up(const std::vector<int64_t>& positions);  // -1: a zero row

  int64_t width_, pad_;
  DType dtype_;
  Tensor table_;  // [positions so far, d]
};

}  // namespace switchyard
