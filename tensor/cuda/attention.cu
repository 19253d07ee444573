// Attention with all its [Tq, Tk] squares in memory: batched products, and one warp for each row of scores.
// y = dropout(P) v,  P = softmax(scale q k^T + bias).  Plain and deterministic; faster kernels are held against it.
#include <limits>

#include "tensor/attention.h"
#include "tensor/cuda/fused_attention.h"
#include "tensor/cuda/loops.h"
#include "tensor/cuda/products.h"
#include "tensor/draws.h"

namespace switchyard::cuda {
namespace {

// --- heads as batches -----------------------------------------------------------------------------------
// The heads of one sentence lie at equal distances, and so does one head in all sentences: a batch is
// either, whichever needs fewer calls of the library.
struct Batches {
  explicit Batches(const AttentionSpec& spec)
      : s(spec),
        of_heads(s.batch <= s.heads),
        calls(of_heads ? s.batch : s.heads),
        batch(of_heads ? s.heads : s.batch) {}

  // The [T, D] matrices of batch i in x [B*T, H*D]
  Matrix heads(const Tensor& x, int64_t i) const {
    const int64_t width = columns_of(x), time = s.batch ? rows_of(x) / s.batch : 0;
    return part(x, time, width / s.heads, width, time * width, width / s.heads, i);
  }
  // The [Tq, Tk] matrices of batch i in x [B, H, Tq, Tk]
  Matrix squares(const Tensor& x, int64_t i) const {
    const int64_t square = s.time_q * s.time_k;
    return part(x, s.time_q, s.time_k, s.time_k, s.heads * square, square, i);
  }
  Matrix part(const Tensor& x, int64_t rows, int64_t columns, int64_t pitch, int64_t sentence,
              int64_t head, int64_t i) const {
    check(x.device() == Device::CUDA, "attention: an argument is not on the GPU");
    return {x.raw() + i * (of_heads ? sentence : head) * size_of(x.dtype()),
            x.dtype(),
            rows,
            columns,
            pitch,
            of_heads ? head : sentence};
  }

  const AttentionSpec& s;
  bool of_heads;
  int64_t calls, batch;
};

// --- rows of scores -------------------------------------------------------------------------------------
template <class T>
__device__ T warp_max(T x) {
  return Warp::reduce(x, [](T a, T b) { return b > a ? b : a; });
}
template <class T>
__device__ T warp_sum(T x) {
  return Warp::reduce(x, [](T a, T b) { return a + b; });
}

// Dropout of x, drawn at element i
struct Drop {
  RandomStream r;
  draws::Dropout dropout;
  template <class T>
  __device__ T operator()(T x, int64_t i) const {
    uint32_t block[4];  // read at constant places, so that it stays in registers
    philox<1>(r, uint64_t(i) >> 2, block);
    const uint32_t bits = i & 2 ? (i & 1 ? block[3] : block[2]) : (i & 1 ? block[1] : block[0]);
    dropout(bits, x, x);
    return x;
  }
};

// scores: q k^T, scratch; probs: P, which may be the scores' memory; used: P after dropout, or null
template <class P, class T>
__global__ void probability_kernel(AttentionSpec s, const uint8_t* padding, const T* bias,
                                   Drop drop, T* scores, P* probs, P* used) {
  const int64_t i = Warp::index(), Tk = s.time_k;
  if (i >= s.batch * s.heads * s.time_q) return;
  const int64_t t = i % s.time_q, h = i / s.time_q % s.heads, b = i / s.time_q / s.heads;
  const int64_t last = t + 1 + Tk - s.time_q;
  const int64_t seen = !s.causal || last > Tk ? Tk : last < 0 ? 0 : last;
  const T scale = T(s.scale), hidden = -std::numeric_limits<T>::infinity();
  T* row = scores + i * Tk;
  T top = hidden;
  for (int64_t j = Warp::rank(); j < seen; j += Warp::size()) {
    T x = bias ? std::fma(scale, row[j], bias[(h * s.time_q + t) * Tk + j]) : scale * row[j];
    if (padding && padding[b * Tk + j]) x = hidden;
    row[j] = x;
    top = x > top ? x : top;
  }
  top = warp_max(top);
  const bool any = top > hidden;  // a row that sees no key gives zeros
  T sum = 0;
  for (int64_t j = Warp::rank(); any && j < seen; j += Warp::size())
    sum += row[j] = vmath::exp(row[j] - top);
  const T inverse = T(1) / warp_sum(sum);
  for (int64_t j = Warp::rank(); j < Tk; j += Warp::size()) {
    const auto p = static_cast<P>(any && j < seen ? row[j] * inverse : T(0));
    probs[i * Tk + j] = p;
    if (used) used[i * Tk + j] = static_cast<P>(drop(static_cast<T>(p), i * Tk + j));
  }
}

// ds: gradient of the dropped P -> gradient of the scores, in place; used: P after dropout, or null
template <class P, class T>
__global__ void score_gradient_kernel(int64_t rows, int64_t Tk, Drop drop, const P* probs, T* ds,
                                      P* used) {
  const int64_t i = Warp::index();
  if (i >= rows) return;
  T dot = 0;
  for (int64_t j = i * Tk + Warp::rank(); j < (i + 1) * Tk; j += Warp::size()) {
    if (used) {
      used[j] = static_cast<P>(drop(static_cast<T>(probs[j]), j));
      ds[j] = drop(ds[j], j);
    }
    dot += ds[j] * static_cast<T>(probs[j]);
  }
  dot = warp_sum(dot);
  for (int64_t j = i * Tk + Warp::rank(); j < (i + 1) * Tk; j += Warp::size())
    ds[j] = static_cast<T>(probs[j]) * (ds[j] - dot);
}

// dbias[e] = sum of ds[b, e] over the sentences, ascending
template <class T>
__global__ void bias_gradient_kernel(int64_t sentences, int64_t n, const T* ds, T* dbias) {
  const int64_t e = blockIdx.x * int64_t(blockDim.x) + threadIdx.x;
  if (e >= n) return;
  T sum = 0;
  for (int64_t b = 0; b < sentences; ++b) sum += ds[b * n + e];
  dbias[e] = sum;
}

// What attention_memory() gave is not the [B, H, Tq, Tk] of this file.
bool is_fused(const Tensor& memory) { return memory.rank() == 3; }

// kernel(args...) with a warp for each row
template <class... P, class... A>
void launch_rows(void (*kernel)(P...), int64_t rows, const A&... args) {
  launch(kernel, unsigned(ceil_div(rows, 8)), 8 * 32, 0, args...);
}

}  // namespace

void attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& key_padding,
                       const Tensor& bias, const AttentionSpec& s, RandomStream r, Tensor& y,
                       Tensor& probs) {
  if (is_fused(probs)) return fused_attention_forward(q, k, v, key_padding, s, y, probs);
  check_attention_forward(s, q, k, v, key_padding, bias, y, probs);
  const Batches all(s);
  const Tensor scores =
      q.dtype() == DType::BF16 ? Tensor::empty(probs.shape(), DType::F32, Device::CUDA) : probs;
  std::vector<Product> products;
  for (int64_t i = 0; i < all.calls; ++i)
    products.push_back({.a = all.heads(q, i),
                        .b = all.heads(k, i).transposed(),
                        .c = all.squares(scores, i),
                        .batch = all.batch});
  multiply_all(products);

  Tensor used = s.dropout > 0 ? empty_like(probs) : Tensor();
  const Tensor padding = on_device(key_padding);
  ELEMENT_DISPATCH(q.dtype(), P, {
    using T = Compute<P>;
    launch_rows(probability_kernel<P, T>, s.batch * s.heads * s.time_q, s, padding.data<uint8_t>(),
                bias.data<T>(), Drop{r, draws::Dropout(s.dropout)}, scores.data<T>(),
                probs.data<P>(), used.data<P>());
  });
  if (!used.defined()) used = probs;

  products.clear();
  for (int64_t i = 0; i < all.calls; ++i)
    products.push_back({.a = all.squares(used, i),
                        .b = all.heads(v, i),
                        .c = all.heads(y, i),
                        .batch = all.batch});
  multiply_all(products);
}

// dP = drop(dy v^T), dS = P * (dP - sum(dP * P)); dq = scale dS k, dk = scale dS^T q, dv = drop(P)^T dy
void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v,
                        const Tensor& key_padding, const Tensor& probs, const Tensor& y,
                        const AttentionSpec& s, RandomStream r, const Tensor& dy, Tensor& dq,
                        Tensor& dk, Tensor& dv, Tensor& dbias) {
  if (is_fused(probs))
    return fused_attention_backward(q, k, v, key_padding, probs, y, s, dy, dq, dk, dv);
  check_attention_backward(s, q, k, v, key_padding, probs, y, dy, dq, dk, dv, dbias);
  const Batches all(s);
  const Tensor ds = Tensor::empty(probs.shape(), compute_type(q.dtype()), Device::CUDA);
  std::vector<Product> products;
  for (int64_t i = 0; i < all.calls; ++i)
    products.push_back({.a = all.heads(dy, i),
                        .b = all.heads(v, i).transposed(),
                        .c = all.squares(ds, i),
                        .batch = all.batch});
  multiply_all(products);

  Tensor used = s.dropout > 0 ? empty_like(probs) : Tensor();
  const int64_t rows = s.batch * s.heads * s.time_q, n = s.heads * s.time_q * s.time_k;
  ELEMENT_DISPATCH(q.dtype(), P, {
    using T = Compute<P>;
    launch_rows(score_gradient_kernel<P, T>, rows, rows, s.time_k,
                Drop{r, draws::Dropout(s.dropout)}, probs.data<P>(), ds.data<T>(), used.data<P>());
    if (dbias.defined())
      launch(bias_gradient_kernel<T>, unsigned(ceil_div(n, 256)), 256, 0, s.batch, n, ds.data<T>(),
             dbias.data<T>());
  });
  if (!used.defined()) used = probs;
  const Tensor operand = ds.to(q.dtype());

  products.clear();
  for (int64_t i = 0; i < all.calls; ++i) {
    const Matrix dS = all.squares(operand, i), P = all.squares(used, i);
    products.push_back({dS, all.heads(k, i), all.heads(dq, i), nullptr, s.scale, all.batch});
    products.push_back(
        {dS.transposed(), all.heads(q, i), all.heads(dk, i), nullptr, s.scale, all.batch});
    products.push_back({P.transposed(), all.heads(dy, i), all.heads(dv, i), nullptr, 1, all.batch});
  }
  multiply_all(products);
}

}  // namespace switchyard::cuda
