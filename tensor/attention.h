// What both twins of the attention kernels check of their arguments.
#pragma once
#include "tensor/arguments.h"
#include "tensor/kernels.h"

namespace switchyard {

namespace cuda {
// One kernel that keeps no [Tq, Tk] matrix serves these arguments: bf16, long enough, keys before padding.
bool attention_is_fused(const Tensor& q, const Tensor& key_padding, const Tensor& bias,
                        const AttentionSpec& s);
}  // namespace cuda

// What attention_forward saves for the gradient: probs, or, where it is fused, log sum exp of the scores
// f32 [B, H, Tq].
inline Tensor attention_memory(const Tensor& q, const Tensor& key_padding, const Tensor& bias,
                               const AttentionSpec& s) {
  if (on_cuda(q) && cuda::attention_is_fused(q, key_padding, bias, s))
    return Tensor::empty({s.batch, s.heads, s.time_q}, DType::F32, q.device());
  return Tensor::empty({s.batch, s.heads, s.time_q, s.time_k}, q.dtype(), q.device());
}

inline void check_attention(const AttentionSpec& s, const Tensor& q, const Tensor& k,
                            const Tensor& v, const Tensor& probs) {
  const int64_t width = columns_of(q);
  if (s.heads <= 0 || width % s.heads != 0)
    throw Error(concat("attention: ", s.heads, " heads in width ", width));
  check_dtype("attention", q.dtype(), k, v, probs);
  check_numel("attention: q", s.batch * s.time_q * width, q);
  check_numel("attention: k, v", s.batch * s.time_k * width, k, v);
  check_numel("attention: probs", s.batch * s.heads * s.time_q * s.time_k, probs);
}
inline void check_attention_forward(const AttentionSpec& s, const Tensor& q, const Tensor& k,
                                    const Tensor& v, const Tensor& key_padding, const Tensor& bias,
                                    const Tensor& y, const Tensor& probs) {
  check_attention(s, q, k, v, probs);
  check_dtype("attention", q.dtype(), y);
  check_numel("attention: y", q.numel(), y);
  if (key_padding.defined()) check_numel("attention: key_padding", s.batch * s.time_k, key_padding);
  if (!bias.defined()) return;
  check_dtype("attention: bias", compute_type(q.dtype()), bias);
  check_numel("attention: bias", s.heads * s.time_q * s.time_k, bias);
}
inline void check_attention_backward(const AttentionSpec& s, const Tensor& q, const Tensor& k,
                                     const Tensor& v, const Tensor& key_padding,
                                     const Tensor& probs, const Tensor& y, const Tensor& dy,
                                     const Tensor& dq, const Tensor& dk, const Tensor& dv,
                                     const Tensor& dbias) {
  check_attention(s, q, k, v, probs);
  check_dtype("attention", q.dtype(), y, dy, dq, dk, dv);
  check_numel("attention: y, dy, dq", q.numel(), y, dy, dq);
  if (key_padding.defined()) check_numel("attention: key_padding", s.batch * s.time_k, key_padding);
  check_numel("attention: dk, dv", k.numel(), dk, dv);
  if (!dbias.defined()) return;
  check_dtype("attention: dbias", compute_type(q.dtype()), dbias);
  check_numel("attention: dbias", s.heads * s.time_q * s.time_k, dbias);
}

}  // namespace switchyard
