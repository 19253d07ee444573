// bf16 attention by cuDNN: one kernel each way, no [Tq, Tk] matrix in memory. Head widths 64 and 128, causal mask
// and key padding; no additive bias, no dropout (its random numbers would not be those of rng.h).
// In a build without cuDNN it is never available.
#pragma once
#include "tensor/kernels.h"

namespace switchyard::cuda {

bool cudnn_attention_available();  // cuDNN 9.16 or newer, and a GPU of compute capability 8.0 or more

// Does cuDNN take this shape? The first question about a shape compiles its kernels (up to seconds).
bool cudnn_attention_takes(const AttentionSpec& s, int64_t width, bool padded, bool deterministic);

// q, y [B*Tq, H*D], k, v [B*Tk, H*D] bf16; lengths i32 [B]: sequence b has keys 0 .. lengths[b] - 1, at least
// one; or undefined. stats f32 [B, H, Tq]: log sum exp of each query's scores, saved for the gradient.
void cudnn_attention_forward(const Tensor& q, const Tensor& k, const Tensor& v,
                             const Tensor& lengths, const AttentionSpec& s, Tensor& y,
                             Tensor& stats);
// deterministic: same bits each time, for 2 B H Tq Tk bytes of memory while it runs.
void cudnn_attention_backward(const Tensor& q, const Tensor& k, const Tensor& v,
                              const Tensor& lengths, const Tensor& y, const Tensor& stats,
                              const AttentionSpec& s, bool deterministic, const Tensor& dy,
                              Tensor& dq, Tensor& dk, Tensor& dv);

}  // namespace switchyard::cuda
