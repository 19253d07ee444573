// Scaled dot-product attention with key padding, causal mask, additive bias and dropout:
// y = dropout(P) v,  P = softmax(scale q k^T + bias).  One (sentence, head) pair is one piece of work:
// small matrix products on one thread, read in place from the [B*T, H*D] layout.
#include "tensor/attention.h"
#include "tensor/cpu/loops.h"
#include "tensor/cpu/product.h"

namespace switchyard::cpu {
namespace {

// The [T, D] matrix of sentence b and head h in x [B*T, H*D]
template <class T>
Matrix<T> head_of(const Tensor& x, const AttentionSpec& s, int64_t b, int64_t h) {
  const int64_t width = columns_of(x), time = rows_of(x) / s.batch, D = width / s.heads;
  return {x.data<T>() + b * time * width + h * D, time, D, width};
}

// The [Tq, Tk] matrix number i in x
template <class T>
Matrix<T> square_of(const Tensor& x, const AttentionSpec& s, int64_t i) {
  return {x.data<T>() + i * s.time_q * s.time_k, s.time_q, s.time_k, s.time_k};
}

// scores -> probabilities of one query row: scale, bias, masks, softmax; in place
template <class T>
void probability_row(T* row, int64_t t, const AttentionSpec& s, const uint8_t* padding,
                     const T* bias) {
  const T scale = T(s.scale), hidden = -std::numeric_limits<T>::infinity();
  const int64_t Tk = s.time_k;
  const int64_t seen = s.causal ? std::clamp<int64_t>(t + 1 + Tk - s.time_q, 0, Tk) : Tk;
  if (bias) vector_loop(0, seen, [=](int64_t j) { row[j] = std::fma(scale, row[j], bias[j]); });
  else vector_loop(0, seen, [=](int64_t j) { row[j] = scale * row[j]; });
  if (padding) vector_loop(0, seen, [=](int64_t j) { row[j] = padding[j] ? hidden : row[j]; });
  softmax_row(row, row, seen);
  std::fill(row + seen, row + Tk, T(0));
}

// P after dropout, drawn at flat index `first`: in `space`, or P itself without dropout
template <class T>
Matrix<T> dropped(const Matrix<T>& P, const AttentionSpec& s, RandomStream r, int64_t first,
                  const Tensor& space) {
  if (s.dropout == 0) return P;
  const Matrix<T> used = square_of<T>(space, s, 0);
  draw_loop(r, first, 0, P.rows * P.columns, drop(P.data, used.data, s.dropout));
  return used;
}

}  // namespace

void attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& key_padding,
                       const Tensor& bias, const AttentionSpec& s, RandomStream r, Tensor& y,
                       Tensor& probs) {
  const int64_t Tq = s.time_q, Tk = s.time_k, square = Tq * Tk;
  check_attention_forward(s, q, k, v, key_padding, bias, y, probs);
  FLOAT_DISPATCH(q.dtype(), T, {
    parallel_for(s.batch * s.heads, 1, [&](int64_t begin, int64_t end) {
      const Tensor space = Tensor::empty({s.dropout > 0 ? square : 0}, q.dtype());
      for (int64_t i = begin; i < end; ++i) {
        const int64_t b = i / s.heads, h = i % s.heads;
        const Matrix<T> P = square_of<T>(probs, s, i);
        multiply_here<T>({head_of<T>(q, s, b, h), head_of<T>(k, s, b, h).transposed(), P});
        for (int64_t t = 0; t < Tq; ++t)
          probability_row<T>(P.data + t * Tk, t, s,
                             key_padding.defined() ? key_padding.data<uint8_t>() + b * Tk : nullptr,
                             bias.defined() ? bias.data<T>() + (h * Tq + t) * Tk : nullptr);
        multiply_here<T>(
            {dropped(P, s, r, i * square, space), head_of<T>(v, s, b, h), head_of<T>(y, s, b, h)});
      }
    });
  });
}

// dP = drop(dy v^T), dS = P * (dP - sum(dP * P)); dq = scale dS k, dk = scale dS^T q, dv = drop(P)^T dy
void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& probs,
                        const AttentionSpec& s, RandomStream r, const Tensor& dy, Tensor& dq,
                        Tensor& dk, Tensor& dv, Tensor& dbias) {
  const int64_t square = s.time_q * s.time_k;
  check_attention_backward(s, q, k, v, probs, dy, dq, dk, dv, dbias);
  if (dbias.defined()) fill(0.0, dbias);
  FLOAT_DISPATCH(q.dtype(), T, {
    // Head by head, sentences ascending: a thread that owns a head can sum its bias gradient in order.
    const int64_t item = dbias.defined() ? s.batch : 1;
    parallel_for(item ? s.heads * s.batch / item : 0, 1, [&](int64_t begin, int64_t end) {
      const Tensor scores = Tensor::empty({square}, q.dtype()), space = empty_like(scores);
      for (int64_t i = begin * item; i < end * item; ++i) {
        const int64_t h = i / s.batch, b = i % s.batch, at = (b * s.heads + h) * square;
        const auto of = [&](const Tensor& x) { return head_of<T>(x, s, b, h); };
        const Matrix<T> P = square_of<T>(probs, s, b * s.heads + h),
                        dS = square_of<T>(scores, s, 0);
        multiply_here<T>({of(dy), of(v).transposed(), dS});
        dropped(dS, s, r, at, scores);  // in place
        multiply_here<T>({dropped(P, s, r, at, space).transposed(), of(dy), of(dv)});
        for (int64_t t = 0; t < square; t += s.time_k)
          softmax_row_backward(P.data + t, dS.data + t, dS.data + t, s.time_k);
        T* ds = dS.data;
        if (dbias.defined())
          vector_loop(0, square,
                      [=, sum = dbias.data<T>() + h * square](int64_t j) { sum[j] += ds[j]; });
        vector_loop(0, square, [=, scale = T(s.scale)](int64_t j) { ds[j] *= scale; });
        multiply_here<T>({dS, of(k), of(dq)});
        multiply_here<T>({dS.transposed(), of(q), of(dk)});
      }
    });
  });
}

}  // namespace switchyard::cpu
