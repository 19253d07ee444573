// The catalogue of kernels: each is declared once and exists as twins cpu::name and cuda::name.
// Conventions: inputs first, outputs (allocated by the caller) last. An undefined Tensor stands for an
// absent optional argument. Zero rows are legal everywhere. "+=" marks kernels that add to their output.
// Every output element is computed by one thread in a fixed order, so results do not depend on the number of
// threads.
// Types: float tensors are all f32 or all f64 in one call. Where activations meet, matrices may be bf16. Numbers
// that belong to a row, a column or a choice are f32 then: w and b of norms, mean, rstd, s, weight, loss, nll,
// lse, the gradients of these, the y of row_dot and grouped_sum_rows; so is the bias of attention. The bias of
// a product is of its y's type, dw is bf16 or f32. bf16 is storage: arithmetic is f32, each result is rounded
// once. random_*, squared_norm_blocks, adam_step and the kernels of gates but row_entropy take no bf16.
// Letters: n rows, c columns, V vocabulary, B batch, T time, H heads, D head width, G groups (experts).
#pragma once
#include "tensor/elementwise.h"
#include "tensor/rng.h"
#include "tensor/tensor.h"

namespace switchyard {

inline bool on_cuda(const Tensor& argument) { return argument.device() == Device::CUDA; }
inline bool on_cuda(const auto&) { return false; }

// KERNEL(name, parameters...): declares cpu::name and cuda::name, and a function that calls the twin of
// the device on which the tensor arguments live. It is a template, so that a differentiable op of the same
// name (autograd/ops.h) is another overload. (cuda_absent.cpp makes stubs of the list.)
// Integer tensors (indices, offsets, targets, masks) may live on the host in every call: they come from
// the batch and the router, which run there, and the cuda twin takes a copy.
#ifndef KERNEL
#define KERNEL(name, ...)                                   \
  namespace cpu {                                           \
  void name(__VA_ARGS__);                                   \
  }                                                         \
  namespace cuda {                                          \
  void name(__VA_ARGS__);                                   \
  }                                                         \
  template <class... T>                                     \
  requires requires(T && ... args) { cpu::name(args...); }  \
  void name(T&&... args) {                                  \
    if ((on_cuda(args) || ...)) return cuda::name(args...); \
    cpu::name(args...);                                     \
  }
#endif

// --- fill, copy, random -----------------------------------------------------------------------------
KERNEL(fill, double value, Tensor& y)        // any dtype
KERNEL(convert, const Tensor& x, Tensor& y)  // y = x, any pair of dtypes
// first_index: the global index of y's first element, so that shards draw what the whole would
KERNEL(random_uniform, RandomStream r, int64_t first_index, double lo, double hi, Tensor& y)
KERNEL(random_normal, RandomStream r, int64_t first_index, double stddev, Tensor& y)
// y[i, j] = -log(-log u), u drawn at element row_ids[i] * c + j;  row_ids i64 [n] or undefined (= i)
KERNEL(random_gumbel, RandomStream r, const Tensor& row_ids, Tensor& y)
// y = x * [u >= p] / (1 - p), u drawn at element row_ids[i] * c + j. Its own adjoint. y may be x.
KERNEL(dropout, const Tensor& x, const Tensor& row_ids, RandomStream r, double p, Tensor& y)

// --- elementwise and rows -----------------------------------------------------------------------------
KERNEL(add, const Tensor& a, const Tensor& b, Tensor& y)         // y = a + b; y may be a or b
KERNEL(multiply, const Tensor& a, const Tensor& b, Tensor& y)    // y = a * b
KERNEL(scale, double alpha, const Tensor& x, Tensor& y)          // y = alpha * x; y may be x
KERNEL(axpy, double alpha, const Tensor& x, Tensor& y)           // y += alpha * x
KERNEL(scale_rows, const Tensor& x, const Tensor& s, Tensor& y)  // y[i,j] = s[i] * x[i,j],  s [n]
KERNEL(row_dot, const Tensor& a, const Tensor& b, Tensor& y)     // y[i] = sum_j a[i,j] * b[i,j]
KERNEL(sum_all, const Tensor& x, Tensor& y)  // y f64 [1]: f64 sums of blocks of 4096, in order
// y f64 [ceil(numel/4096)]: sum of squares of each block
KERNEL(squared_norm_blocks, const Tensor& x, Tensor& y)
KERNEL(argmax_rows, const Tensor& x, Tensor& y)  // y i64 [n]; the lowest index wins a tie
// For each functor of elementwise.h: name_forward(x, y) and name_backward(x, y, dy, dx).
#define SWITCHYARD_UNARY_KERNELS(name, Functor)      \
  KERNEL(name##_forward, const Tensor& x, Tensor& y) \
  KERNEL(name##_backward, const Tensor& x, const Tensor& y, const Tensor& dy, Tensor& dx)
SWITCHYARD_UNARY_OPS(SWITCHYARD_UNARY_KERNELS)
#undef SWITCHYARD_UNARY_KERNELS

// --- matrix products: each output element is one fma chain over the inner index, ascending ----------------
// Rows offsets[g]..offsets[g+1]-1 of x [n, k] belong to group g; offsets is i64 [G+1] on the host. A plain
// product has one group, offsets 0 and n; its w, bias and dw may lack the dimension G.
// transpose_w: y = x w[g]^T, w [G, m, k]; else y = x w[g], w [G, k, m].  bias [G, m] or undefined.
KERNEL(grouped_matmul, const Tensor& x, const Tensor& offsets, const Tensor& w, bool transpose_w,
       const Tensor& bias, Tensor& y)
// dw[g] = dy_g^T x_g: dy [n, m], x [n, k], dw [G, m, k]; a group without rows gives zeros.
KERNEL(grouped_matmul_dw, const Tensor& dy, const Tensor& x, const Tensor& offsets, Tensor& dw)
// y[g] = sum of x's rows in g, ascending; y [G, c]
KERNEL(grouped_sum_rows, const Tensor& x, const Tensor& offsets, Tensor& y)

// --- norm and softmax, along the last dimension ---------------------------------------------------------
// y = (x - mean) * rstd * w + b;  mean, rstd [n] are saved for the gradient
KERNEL(layer_norm_forward, const Tensor& x, const Tensor& w, const Tensor& b, double eps, Tensor& y,
       Tensor& mean, Tensor& rstd)
// dx = (g - mean(g) - n * mean(g * n)) * rstd, g = dy * w, n = (x - mean) * rstd;  dw, db are written
KERNEL(layer_norm_backward, const Tensor& x, const Tensor& w, const Tensor& mean,
       const Tensor& rstd, const Tensor& dy, Tensor& dx, Tensor& dw, Tensor& db)
KERNEL(softmax_forward, const Tensor& x, Tensor& y)
KERNEL(softmax_backward, const Tensor& y, const Tensor& dy, Tensor& dx)
KERNEL(log_softmax_forward, const Tensor& x, Tensor& y)  // inference only (beam search)

// --- lookup, gather, scatter: index i64, -1 stands for "no row" ---------------------------------------------
KERNEL(gather_rows, const Tensor& x, const Tensor& index, Tensor& y)  // y[i] = x[index[i]], or 0
// y[index[i]] += x[i], i ascending
KERNEL(scatter_add_rows, const Tensor& x, const Tensor& index, Tensor& y)
// Token s has the choices i = offsets[s] .. offsets[s+1]-1; choice i found its row at position[i] (-1: dropped).
// y[s] = sum_i weight[i] * rows[position[i]], in the order of i.  offsets [S+1], position [m] i64; weight [m].
KERNEL(combine_forward, const Tensor& rows, const Tensor& offsets, const Tensor& position,
       const Tensor& weight, Tensor& y)
// drows[p] = weight[i] * dy[s] (rows without a choice get 0); dweight[i] = dot(dy[s], rows[position[i]])
KERNEL(combine_backward, const Tensor& dy, const Tensor& rows, const Tensor& offsets,
       const Tensor& position, const Tensor& weight, Tensor& drows, Tensor& dweight)

// --- gates: of every row of x [n, c] k columns are chosen, column i64 [n, k] ---------------------------------
KERNEL(fill_columns, double value, const Tensor& column, Tensor& y)  // y[i, column[i, j]] = value
KERNEL(gather_columns, const Tensor& x, const Tensor& column,
       Tensor& y)  // y[i, j] = x[i, column[i, j]]
// y[i, column[i, j]] += x[i, j], j ascending
KERNEL(scatter_add_columns, const Tensor& x, const Tensor& column, Tensor& y)
KERNEL(row_entropy, const Tensor& p, Tensor& y)  // y[i] = -sum_j p[i, j] log p[i, j]
// The choices of a token divided by their sum: y[i] = x[i] / d[s], d[s] = max(sum of x[i], epsilon) over the
// i = offsets[s] .. offsets[s+1]-1; d [S] is saved for the gradient
KERNEL(normalize_forward, const Tensor& x, const Tensor& offsets, Tensor& y, Tensor& d)
// dx[i] = (dy[i] - sum of dy y over the token's choices) / d[s]; no sum where epsilon took over
KERNEL(normalize_backward, const Tensor& dy, const Tensor& y, const Tensor& offsets,
       const Tensor& d, Tensor& dx)

// --- attention --------------------------------------------------------------------------------------------
struct AttentionSpec {
  int64_t batch, time_q, time_k, heads;  // q [B*Tq, H*D], k and v [B*Tk, H*D]
  bool causal;                           // query t sees keys 0 .. t + (Tk - Tq)
  double scale;                          // scores = scale * q k^T + bias
  double dropout;                        // on the probabilities, drawn at their flat index
};
// key_padding u8 [B, Tk] (1 = ignore) or undefined; bias [H, Tq, Tk] or undefined.
// probs [B, H, Tq, Tk]: softmax before dropout, saved for the gradient. A row that sees no key gives 0.
// In bf16 the squares are f32 until they meet v, q or k: probs, probs after dropout and dS are rounded.
// attention_memory() (attention.h) makes probs, or what a fused kernel saves in their place.
KERNEL(attention_forward, const Tensor& q, const Tensor& k, const Tensor& v,
       const Tensor& key_padding, const Tensor& bias, const AttentionSpec& spec, RandomStream r,
       Tensor& y, Tensor& probs)
// dbias is undefined when the bias needs no gradient
KERNEL(attention_backward, const Tensor& q, const Tensor& k, const Tensor& v,
       const Tensor& key_padding, const Tensor& probs, const Tensor& y, const AttentionSpec& spec,
       RandomStream r, const Tensor& dy, Tensor& dq, Tensor& dk, Tensor& dv, Tensor& dbias)

// --- loss and optimizer --------------------------------------------------------------------------------------
// Per row of logits [n, V] with target != ignore (else 0):
// nll = -log q[target];  loss = (1 - smoothing) * nll + (smoothing / V) * sum_v -log q[v];  lse saved
KERNEL(cross_entropy_forward, const Tensor& logits, const Tensor& target, int64_t ignore,
       double smoothing, Tensor& loss, Tensor& nll, Tensor& lse)
// dlogits = dloss[i] * (q - (1 - smoothing) onehot - smoothing / V), 0 for ignored rows
KERNEL(cross_entropy_backward, const Tensor& logits, const Tensor& target, int64_t ignore,
       double smoothing, const Tensor& lse, const Tensor& dloss, Tensor& dlogits)

struct AdamSpec {
  double lr, beta1, beta2, eps, weight_decay;
  bool decoupled;  // true: AdamW; false: fairseq's Adam; both decay p by p *= 1 - lr * weight_decay
  int64_t step;    // of this parameter, from 1, for the bias correction
  double gradient_scale;  // 1/N times the clipping factor
};
// fairseq's Adam: m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2;
// p -= lr * sqrt(1-b2^t) / (1-b1^t) * m / (sqrt(v) + eps)           [decoupled = false]
// AdamW (PyTorch): p -= lr * (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps)   [decoupled = true]
KERNEL(adam_step, const Tensor& g, const AdamSpec& spec, Tensor& p, Tensor& m, Tensor& v)

}  // namespace switchyard
