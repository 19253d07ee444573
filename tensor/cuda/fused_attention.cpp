// When the fused kernel serves attention, and how key padding looks to it.
#include "tensor/cuda/fused_attention.h"

#include <algorithm>

#include "tensor/attention.h"
#include "tensor/cuda/cudnn_attention.h"

namespace switchyard::cuda {
namespace {

// Every shape has to be compiled once, which takes up to a second: the batches of a translation task have many
// small ones, whose matrices are no burden.
constexpr int64_t kLeastSquare = 256 * 256;

// i32 [B]: the keys of each sequence, which must come first; undefined: no padding, or not of this form
Tensor lengths_of(const Tensor& key_padding, const AttentionSpec& s) {
  if (!key_padding.defined() || key_padding.device() != Device::CPU) return {};
  std::vector<int32_t> lengths;
  for (int64_t b = 0; b < s.batch; ++b) {
    const uint8_t *row = key_padding.data<uint8_t>() + b * s.time_k, *end = row + s.time_k;
    const uint8_t* first_hidden = std::find(row, end, 1);
    if (first_hidden == row || std::find(first_hidden, end, 0) != end) return {};
    lengths.push_back(int32_t(first_hidden - row));
  }
  return Tensor::of(lengths);
}

}  // namespace

bool attention_is_fused(const Tensor& q, const Tensor& key_padding, const Tensor& bias,
                        const AttentionSpec& s) {
  if (q.dtype() != DType::BF16 || bias.defined() || s.time_q * s.time_k < kLeastSquare)
    return false;
  const bool padded = key_padding.defined();
  if (padded && !lengths_of(key_padding, s).defined()) return false;
  return cudnn_attention_takes(s, columns_of(q), padded, true);
}

void fused_attention_forward(const Tensor& q, const Tensor& k, const Tensor& v,
                             const Tensor& key_padding, const AttentionSpec& s, Tensor& y,
                             Tensor& stats) {
  cudnn_attention_forward(q, k, v, lengths_of(key_padding, s), s, y, stats);
}
void fused_attention_backward(const Tensor& q, const Tensor& k, const Tensor& v,
                              const Tensor& key_padding, const Tensor& stats, const Tensor& y,
                              const AttentionSpec& s, const Tensor& dy, Tensor& dq, Tensor& dk,
                              Tensor& dv) {
  cudnn_attention_backward(q, k, v, lengths_of(key_padding, s), y, stats, s, true, dy, dq, dk, dv);
}

}  // namespace switchyard::cuda
