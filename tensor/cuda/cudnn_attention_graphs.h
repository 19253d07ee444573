// Attention as cuDNN's engines know it: products, masks by comparing indices, softmax by max, exp and sum.
// With S = scale q k^T, hidden scores -inf, and stats = log sum exp S of each query:
//   forward    P = exp(S - stats),  y = P v
//   backward   delta = sum(dy * y),  dS = scale P * (dy v^T - delta),  dq = dS k,  dk = dS^T q,  dv = P^T dy
// Only a graph of this form runs as one kernel that never stores a [Tq, Tk] matrix.
#pragma once
#include <compare>

#include "tensor/cuda/cudnn_graph.h"

namespace switchyard::cuda {

struct AttentionShape {
  int64_t batch, heads, time_q, time_k, head_width;
  bool causal;  // query t sees keys 0 .. t
  bool padded;  // sequence b has keys 0 .. length_k[b] - 1, at least one
  float scale;
  auto operator<=>(const AttentionShape&) const = default;
};

// Ids of the real tensors. q, k, v, y and their gradients are bf16 [B, T, H, D], stats and delta f32
// [B, H, Tq], the lengths i32 [B], dq_sum f32 [B, H, Tq, D].
enum AttentionTensor : int64_t {
  kQuery = 1,
  kKey,
  kValue,
  kOutput,
  kStats,
  kLengthQ,
  kLengthK,  // forward
  kGradOutput,
  kGradQuery,
  kGradKey,
  kGradValue,
  kDelta,
  kQuerySum
};

CudnnGraph attention_forward_graph(const AttentionShape& s);
// deterministic: dq is one product over a stored dS (2 B H Tq Tk bytes of workspace); otherwise blocks of keys add
// to kQuerySum in any order. (No engine of cuDNN 9.19 carries the note NONDETERMINISTIC: the form decides.)
CudnnGraph attention_backward_graph(const AttentionShape& s, bool deterministic);

}  // namespace switchyard::cuda
