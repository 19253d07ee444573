// What stands for cuDNN on the emulated GPU: the interface of cudnn_attention.h over the CPU's f32 attention.
#include "tensor/cuda/cudnn_attention.h"

#include <cmath>

#include "cuda_runtime.h"
#include "tensor/arguments.h"

namespace switchyard::cuda {
namespace {

Tensor f32(const Tensor& x) { return x.to(Device::CPU).to(DType::F32); }

Tensor padding_of(const Tensor& lengths, const AttentionSpec& s) {
  if (!lengths.defined()) return {};
  std::vector<uint8_t> padding;
  const auto n = lengths.to_vector<int32_t>();
  for (int64_t b = 0; b < s.batch; ++b)
    for (int64_t t = 0; t < s.time_k; ++t) padding.push_back(t >= n.at(b));
  return Tensor::of(padding);
}

// y, and the probabilities
std::pair<Tensor, Tensor> forward(const Tensor& q, const Tensor& k, const Tensor& v,
                                  const Tensor& lengths, const AttentionSpec& s) {
  Tensor y = Tensor::empty(q.shape()), P = Tensor::empty({s.batch, s.heads, s.time_q, s.time_k});
  cpu::attention_forward(f32(q), f32(k), f32(v), padding_of(lengths, s), {}, s, {}, y, P);
  return {y, P};
}

// log sum exp of the scores: of any key j that is seen, score_j - log P_j
Tensor log_sums(const Tensor& q, const Tensor& k, const Tensor& P, const AttentionSpec& s) {
  const Tensor queries = f32(q), keys = f32(k), stats = Tensor::empty({s.batch, s.heads, s.time_q});
  const int64_t width = columns_of(q), D = width / s.heads;
  for (int64_t i = 0; i < stats.numel(); ++i) {
    const int64_t t = i % s.time_q, h = i / s.time_q % s.heads, b = i / s.time_q / s.heads;
    const float* row = P.data<float>() + i * s.time_k;
    const int64_t j = std::max_element(row, row + s.time_k) - row;
    double score = 0;
    for (int64_t d = 0; d < D; ++d)
      score += double(queries.data<float>()[(b * s.time_q + t) * width + h * D + d]) *
               keys.data<float>()[(b * s.time_k + j) * width + h * D + d];
    stats.data<float>()[i] = float(s.scale * score - std::log(double(row[j])));
  }
  return stats;
}

}  // namespace

bool cudnn_attention_available() { return true; }
bool cudnn_attention_takes(const AttentionSpec& s, int64_t width, bool, bool) {
  const int64_t D = s.heads > 0 ? width / s.heads : 0;
  return s.dropout == 0 && (D == 64 || D == 128) && D * s.heads == width &&
         !(s.causal && s.time_q != s.time_k) && s.batch * s.time_q * s.time_k > 0;
}
void cudnn_attention_forward(const Tensor& q, const Tensor& k, const Tensor& v,
                             const Tensor& lengths, const AttentionSpec& s, Tensor& y,
                             Tensor& stats) {
  const auto [result, P] = forward(q, k, v, lengths, s);
  assign(result.to(DType::BF16), y);
  assign(log_sums(q, k, P, s), stats);
}
void cudnn_attention_backward(const Tensor& q, const Tensor& k, const Tensor& v,
                              const Tensor& lengths, const Tensor& y, const Tensor& stats,
                              const AttentionSpec& s, bool, const Tensor& dy, Tensor& dq,
                              Tensor& dk, Tensor& dv) {
  const auto [result, P] = forward(q, k, v, lengths, s);
  const auto same = [](const Tensor& a, const Tensor& b) {  // what forward gave, and nothing else
    const auto x = f32(a).to_vector<float>(), z = f32(b).to_vector<float>();
    return x == z;
  };
  check(same(result.to(DType::BF16), y), "cuDNN, emulated: y is not that of forward");
  check(same(log_sums(q, k, P, s), stats), "cuDNN, emulated: stats are not those of forward");
  Tensor gq = Tensor::empty(q.shape()), gk = Tensor::empty(k.shape()), gv = empty_like(gk), none;
  cpu::attention_backward(f32(q), f32(k), f32(v), padding_of(lengths, s), P, f32(y), s, {}, f32(dy),
                          gq, gk, gv, none);
  assign(gq.to(DType::BF16), dq);
  assign(gk.to(DType::BF16), dk);
  assign(gv.to(DType::BF16), dv);
}

}  // namespace switchyard::cuda
