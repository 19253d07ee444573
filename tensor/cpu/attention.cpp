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

// --- what bf16 adds: squares and products are f32, and rounded where they are stored ----------------------
template <class X, class Y>
void copy(const Matrix<X>& x, const Matrix<Y>& y) {
  for (int64_t i = 0; i < x.rows; ++i)
    vector_loop(0, x.columns, [=](int64_t j) {
      y.data[i * y.down + j * y.right] = static_cast<Y>(x.data[i * x.down + j * x.right]);
    });
}
// c = a b
template <class T, class C>
void multiply(const Matrix<T>& a, const Matrix<T>& b, const Matrix<C>& c) {
  if constexpr (kRounded<T>) {
    const auto space = [](const auto& x) { return Tensor::empty({x.rows * x.columns}); };
    const Tensor own_a = space(a), own_b = space(b), own_c = space(c);
    const Product<float> p = {{own_a.data<float>(), a.rows, a.columns, a.columns},
                              {own_b.data<float>(), b.rows, b.columns, b.columns},
                              {own_c.data<float>(), c.rows, c.columns, c.columns}};
    copy(a, p.a), copy(b, p.b);
    multiply_here(p);
    copy(p.c, c);
  } else {
    multiply_here<T>({a, b, c});
  }
}
// Where the scores of P are computed: in P itself, or in `space`
template <class T>
Matrix<Compute<T>> scores_of(const Matrix<T>& P, const AttentionSpec& s, const Tensor& space) {
  if constexpr (kRounded<T>) return square_of<Compute<T>>(space, s, 0);
  else return P;
}
// x as an operand: rounded into `space`, or x itself
template <class T>
Matrix<T> rounded(const Matrix<Compute<T>>& x, const AttentionSpec& s, const Tensor& space) {
  if constexpr (!kRounded<T>) return x;
  const Matrix<T> y = square_of<T>(space, s, 0);
  copy(x, y);
  return y;
}

}  // namespace

void attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& key_padding,
                       const Tensor& bias, const AttentionSpec& s, RandomStream r, Tensor& y,
                       Tensor& probs) {
  const int64_t Tq = s.time_q, Tk = s.time_k, square = Tq * Tk;
  check_attention_forward(s, q, k, v, key_padding, bias, y, probs);
  ELEMENT_DISPATCH(q.dtype(), T, {
    using C = Compute<T>;
    parallel_for(s.batch * s.heads, 1, [&](int64_t begin, int64_t end) {
      const Tensor space = Tensor::empty({s.dropout > 0 ? square : 0}, q.dtype()),
                   scores = Tensor::empty({kRounded<T> ? square : 0}, kDTypeOf<C>);
      for (int64_t i = begin; i < end; ++i) {
        const int64_t b = i / s.heads, h = i % s.heads;
        const Matrix<T> P = square_of<T>(probs, s, i);
        const Matrix<C> S = scores_of(P, s, scores);
        multiply(head_of<T>(q, s, b, h), head_of<T>(k, s, b, h).transposed(), S);
        for (int64_t t = 0; t < Tq; ++t)
          probability_row<C>(S.data + t * Tk, t, s,
                             key_padding.defined() ? key_padding.data<uint8_t>() + b * Tk : nullptr,
                             bias.defined() ? bias.data<C>() + (h * Tq + t) * Tk : nullptr);
        if (kRounded<T>) copy(S, P);
        multiply(dropped(P, s, r, i * square, space), head_of<T>(v, s, b, h),
                 head_of<T>(y, s, b, h));
      }
    });
  });
}

// dP = drop(dy v^T), dS = P * (dP - sum(dP * P)); dq = scale dS k, dk = scale dS^T q, dv = drop(P)^T dy
void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v,
                        const Tensor& key_padding, const Tensor& probs, const Tensor& y,
                        const AttentionSpec& s, RandomStream r, const Tensor& dy, Tensor& dq,
                        Tensor& dk, Tensor& dv, Tensor& dbias) {
  const int64_t square = s.time_q * s.time_k;
  check_attention_backward(s, q, k, v, key_padding, probs, y, dy, dq, dk, dv, dbias);
  if (dbias.defined()) fill(0.0, dbias);
  ELEMENT_DISPATCH(q.dtype(), T, {
    using C = Compute<T>;
    // Head by head, sentences ascending: a thread that owns a head can sum its bias gradient in order.
    const int64_t item = dbias.defined() ? s.batch : 1;
    parallel_for(item ? s.heads * s.batch / item : 0, 1, [&](int64_t begin, int64_t end) {
      const Tensor scores = Tensor::empty({square}, kDTypeOf<C>),
                   space = Tensor::empty({square}, q.dtype());
      for (int64_t i = begin * item; i < end * item; ++i) {
        const int64_t h = i / s.batch, b = i % s.batch, at = (b * s.heads + h) * square;
        const auto of = [&](const Tensor& x) { return head_of<T>(x, s, b, h); };
        const Matrix<T> P = square_of<T>(probs, s, b * s.heads + h);
        const Matrix<C> dS = square_of<C>(scores, s, 0);
        multiply(of(dy), of(v).transposed(), dS);
        dropped(dS, s, r, at, scores);  // in place
        multiply(dropped(P, s, r, at, space).transposed(), of(dy), of(dv));
        for (int64_t t = 0; t < square; t += s.time_k)
          softmax_row_backward(P.data + t, dS.data + t, dS.data + t, s.time_k);
        C* ds = dS.data;
        if (dbias.defined())
          vector_loop(0, square,
                      [=, sum = dbias.data<C>() + h * square](int64_t j) { sum[j] += ds[j]; });
        vector_loop(0, square, [=, scale = C(s.scale)](int64_t j) { ds[j] *= scale; });
        const Matrix<T> g = rounded<T>(dS, s, space);
        multiply(g, of(k), of(dq));
        multiply(g.transposed(), of(q), of(dk));
      }
    });
  });
}

}  // namespace switchyard::cpu
