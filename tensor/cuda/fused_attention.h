// Attention in one kernel each way, where there is one that takes the arguments (cudnn_attention.h). What it
// keeps for the gradient is a number for each query and head, not the [Tq, Tk] matrices.
#pragma once
#include "tensor/kernels.h"

namespace switchyard::cuda {

// stats f32 [B, H, Tq]; the rest as in kernels.h
void fused_attention_forward(const Tensor& q, const Tensor& k, const Tensor& v,
                             const Tensor& key_padding, const AttentionSpec& s, Tensor& y,
                             Tensor& stats);
// Bitwise reproducible.
void fused_attention_backward(const Tensor& q, const Tensor& k, const Tensor& v,
                              const Tensor& key_padding, const Tensor& stats, const Tensor& y,
                              const AttentionSpec& s, const Tensor& dy, Tensor& dq, Tensor& dk,
                              Tensor& dv);

}  // namespace switchyard::cuda
