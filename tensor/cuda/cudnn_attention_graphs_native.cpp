// The graphs of cudnn_attention_graphs.h. The order of the operations is the one that cuDNN's engines accept.
#include "tensor/cuda/cudnn_attention_graphs.h"

#include <limits>

namespace switchyard::cuda {
namespace {

constexpr auto kBf16 = CUDNN_DATA_BFLOAT16;
constexpr auto kF32 = CUDNN_DATA_FLOAT;
constexpr auto kI32 = CUDNN_DATA_INT32;
constexpr auto kBool = CUDNN_DATA_BOOLEAN;

using Node = CudnnTensor;

// Graph and shapes of one direction; tensors have dimensions [B, H, T, D] whatever their order in memory.
struct Builder {
  const AttentionShape& s;
  CudnnGraph graph = {};
  Node length_q = {}, length_k = {}, hidden = {};

  explicit Builder(const AttentionShape& shape) : s(shape) {
    hidden = graph.scalar(-std::numeric_limits<float>::infinity());
    if (!s.padded) return;
    length_q = graph.tensor(kLengthQ, kI32, {s.batch, 1, 1, 1}, {1, 1, 1, 1});
    length_k = graph.tensor(kLengthK, kI32, {s.batch, 1, 1, 1}, {1, 1, 1, 1});
  }

  // bf16 [B, T, H, D] in memory
  Node heads(AttentionTensor id, int64_t time) {
    const int64_t H = s.heads, D = s.head_width;
    return graph.tensor(id, kBf16, {s.batch, H, time, D}, {time * H * D, D, H * D, 1});
  }
  Node transposed_heads(AttentionTensor id, int64_t time) {
    const int64_t H = s.heads, D = s.head_width;
    return graph.tensor(id, kBf16, {s.batch, H, D, time}, {time * H * D, D, 1, H * D});
  }
  Node rows(AttentionTensor id) { return graph.tensor(id, kF32, row_dims(), row_strides()); }
  Node rows() { return graph.intermediate(kF32, row_dims(), row_strides()); }
  Dims row_dims() const { return {s.batch, s.heads, s.time_q, 1}; }
  Dims row_strides() const { return {s.heads * s.time_q, s.time_q, 1, 1}; }
  Node square(cudnnDataType_t type = kF32) {
    const int64_t Tq = s.time_q, Tk = s.time_k;
    return graph.intermediate(type, {s.batch, s.heads, Tq, Tk},
                              {s.heads * Tq * Tk, Tq * Tk, Tk, 1});
  }

  Node point(cudnnPointwiseMode_t mode, const Node& x, const Node& b = {}) {
    const Node y = graph.intermediate(kF32, x.dims, x.strides);
    graph.pointwise(mode, x, b, y);
    return y;
  }
  Node product(const Node& a, const Node& b, const CudnnSizes& sizes) {
    const Node y = square();
    graph.matmul(a, b, y, sizes);
    return y;
  }
  // bf16 x^T of a [.., Tq, Tk] matrix
  Node transposed(const Node& x) {
    const int64_t Tq = s.time_q, Tk = s.time_k;
    const Node y =
        graph.intermediate(kBf16, {s.batch, s.heads, Tk, Tq}, {s.heads * Tq * Tk, Tq * Tk, 1, Tk});
    graph.reshape(x, y);
    return y;
  }
  Node index(int64_t axis, const Node& x) {
    const Node y = square(kI32);
    graph.index(axis, x, y);
    return y;
  }
  Node compare(cudnnPointwiseMode_t mode, const Node& x, const Node& b) {
    const Node y = square(kBool);
    graph.pointwise(mode, x, b, y);
    return y;
  }
  Node hide_unless(const Node& keep, const Node& x) {
    const Node y = square();
    graph.pointwise(CUDNN_POINTWISE_BINARY_SELECT, x, hidden, y, keep);
    return y;
  }

  Node masked(Node x) {
    if (s.padded) {
      const Node row = index(2, x), column = index(3, x);
      const Node inside_q = compare(CUDNN_POINTWISE_CMP_LT, row, length_q),
                 inside_k = compare(CUDNN_POINTWISE_CMP_LT, column, length_k);
      x = hide_unless(compare(CUDNN_POINTWISE_LOGICAL_AND, inside_q, inside_k), x);
    }
    if (s.causal) {
      const Node row = index(2, x), column = index(3, x);
      x = hide_unless(compare(CUDNN_POINTWISE_CMP_GE, row, column), x);
    }
    return x;
  }
};

}  // namespace

CudnnGraph attention_forward_graph(const AttentionShape& s) {
  Builder b(s);
  const Node q = b.heads(kQuery, s.time_q), kt = b.transposed_heads(kKey, s.time_k),
             v = b.heads(kValue, s.time_k), y = b.heads(kOutput, s.time_q), stats = b.rows(kStats);
  const Node scores = b.product(q, kt, {b.length_q, b.length_k, {}});
  const Node S = b.masked(b.point(CUDNN_POINTWISE_MUL, scores, b.graph.scalar(s.scale)));
  const Node max = b.rows(), sum = b.rows(), P = b.square(kBf16);
  b.graph.reduce(CUDNN_REDUCE_TENSOR_MAX, S, max);
  const Node exponentials = b.point(CUDNN_POINTWISE_EXP, b.point(CUDNN_POINTWISE_SUB, S, max));
  b.graph.reduce(CUDNN_REDUCE_TENSOR_ADD, exponentials, sum);
  b.graph.pointwise(CUDNN_POINTWISE_ADD, max, b.point(CUDNN_POINTWISE_LOG, sum), stats);
  b.graph.pointwise(CUDNN_POINTWISE_DIV, exponentials, sum, P);
  b.graph.matmul(P, v, y, {b.length_q, {}, b.length_k});
  return b.graph;
}

CudnnGraph attention_backward_graph(const AttentionShape& s, bool deterministic) {
  Builder b(s);
  const Node q = b.heads(kQuery, s.time_q), kt = b.transposed_heads(kKey, s.time_k),
             vt = b.transposed_heads(kValue, s.time_k), y = b.heads(kOutput, s.time_q),
             dy = b.heads(kGradOutput, s.time_q), stats = b.rows(kStats);
  const Node dq = b.heads(kGradQuery, s.time_q), dk = b.heads(kGradKey, s.time_k),
             dv = b.heads(kGradValue, s.time_k), delta = b.rows(kDelta);
  const Node scale = b.graph.scalar(s.scale), dot = b.rows();
  // The multiplication by 1 belongs to the form that the engines know (with dropout it is 1 - p).
  const int64_t D = s.head_width;
  const Dims dense = {s.heads * s.time_q * D, s.time_q * D, D, 1};
  const Node terms = b.graph.intermediate(kF32, dy.dims, dense);
  b.graph.pointwise(CUDNN_POINTWISE_MUL, dy, y, terms);
  b.graph.reduce(CUDNN_REDUCE_TENSOR_ADD, terms, dot);
  b.graph.pointwise(CUDNN_POINTWISE_MUL, dot, b.graph.scalar(1), delta);

  const Node scores = b.product(q, kt, {b.length_q, b.length_k, {}});
  const Node S = b.point(CUDNN_POINTWISE_MUL, scores, scale);
  const Node P = b.point(CUDNN_POINTWISE_EXP, b.masked(b.point(CUDNN_POINTWISE_SUB, S, stats)));
  b.graph.matmul(b.transposed(P), dy, dv, {b.length_k, {}, b.length_q});

  const Node dP = b.product(dy, vt, {b.length_q, b.length_k, {}});
  const Node centred = b.point(CUDNN_POINTWISE_SUB, dP, delta);
  const Node dS = b.point(CUDNN_POINTWISE_MUL, b.point(CUDNN_POINTWISE_MUL, centred, P), scale);
  b.graph.matmul(b.transposed(dS), q, dk, {b.length_k, {}, b.length_q});

  const Node k = b.graph.intermediate(kBf16, {s.batch, s.heads, s.time_k, D},
                                      {s.time_k * s.heads * D, D, s.heads * D, 1});
  b.graph.reshape(kt, k);
  const CudnnSizes sizes = {b.length_q, {}, b.length_k};
  if (deterministic) {
    b.graph.matmul(dS, k, dq, sizes);
  } else {
    const Node sum = b.graph.tensor(kQuerySum, kF32, dq.dims, dense);
    b.graph.matmul(dS, k, sum, sizes);
    b.graph.pointwise(CUDNN_POINTWISE_IDENTITY, sum, {}, dq);
  }
  return b.graph;
}

}  // namespace switchyard::cuda
