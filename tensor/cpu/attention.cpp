// Scaled dot-product attention with key padding, causal mask, additive bias and dropout:
// y = dropout(P) v,  P = softmax(scale q k^T + bias).  One (sentence, head) pair is one piece of work:
// small matrix products on one thread, read in place from the [B*T, H*D] layout by leading dimensions.
#include "tensor/cpu/draws.h"
#include "tensor/cpu/matmul.h"

namespace switchyard::cpu {
namespace {

struct Sizes {
  int64_t B, H, Tq, Tk, width, D;  // width = H * D
};

Sizes checked_sizes(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionSpec& spec) {
  Sizes s{spec.batch, spec.heads, spec.time_q, spec.time_k, columns_of(q), 0};
  if (s.H <= 0 || s.width % s.H != 0)
    throw Error(concat("attention: ", s.H, " heads in width ", s.width));
  s.D = s.width / s.H;
  check_numel("attention: q", s.B * s.Tq * s.width, q);
  check_numel("attention: k, v", s.B * s.Tk * s.width, k, v);
  return s;
}

// scores -> probabilities of one query row: scale, bias, masks, softmax; in place
template <class T>
void probability_row(T* row, int64_t t, const Sizes& s, const AttentionSpec& spec,
                     const uint8_t* padding, const T* bias) {
  const T scale = T(spec.scale), hidden = -std::numeric_limits<T>::infinity();
  const int64_t seen = spec.causal ? std::clamp<int64_t>(t + 1 + s.Tk - s.Tq, 0, s.Tk) : s.Tk;
  if (bias) vector_loop(0, seen, [=](int64_t j) { row[j] = std::fma(scale, row[j], bias[j]); });
  else vector_loop(0, seen, [=](int64_t j) { row[j] = scale * row[j]; });
  if (padding) vector_loop(0, seen, [=](int64_t j) { row[j] = padding[j] ? hidden : row[j]; });
  softmax_row(row, row, seen);
  std::fill(row + seen, row + s.Tk, T(0));
}

}  // namespace

void attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& key_padding,
                       const Tensor& bias, const AttentionSpec& spec, RandomStream r, Tensor& y,
                       Tensor& probs) {
  const Sizes s = checked_sizes(q, k, v, spec);
  const int64_t square = s.Tq * s.Tk;
  check_numel("attention: y", q.numel(), y);
  check_numel("attention: probs", s.B * s.H * square, probs);
  if (key_padding.defined()) check_numel("attention: key_padding", s.B * s.Tk, key_padding);
  if (bias.defined()) check_numel("attention: bias", s.H * square, bias);
  FLOAT_DISPATCH(q.dtype(), T, {
    parallel_for(s.B * s.H, 1, [&](int64_t begin, int64_t end) {
      const Tensor buffer = Tensor::empty({spec.dropout > 0 ? square : 0}, q.dtype());
      T* dropped = buffer.data<T>();
      for (int64_t i = begin; i < end; ++i) {
        const int64_t b = i / s.H, h = i % s.H;
        const int64_t at_q = b * s.Tq * s.width + h * s.D, at_k = b * s.Tk * s.width + h * s.D;
        T* P = probs.data<T>() + i * square;
        multiply_here<T>({s.Tq, s.Tk, s.D, q.data<T>() + at_q, s.width, false, k.data<T>() + at_k,
                          s.width, true, P, s.Tk});
        for (int64_t t = 0; t < s.Tq; ++t)
          probability_row<T>(
              P + t * s.Tk, t, s, spec,
              key_padding.defined() ? key_padding.data<uint8_t>() + b * s.Tk : nullptr,
              bias.defined() ? bias.data<T>() + (h * s.Tq + t) * s.Tk : nullptr);
        if (spec.dropout > 0)
          draw_loop(r, i * square, 0, square, drop<T>(P, dropped, spec.dropout));
        multiply_here<T>({s.Tq, s.D, s.Tk, spec.dropout > 0 ? dropped : P, s.Tk, false,
                          v.data<T>() + at_k, s.width, false, y.data<T>() + at_q, s.width});
      }
    });
  });
}

// dP = drop(dy v^T), dS = P * (dP - sum(dP * P)); dq = scale dS k, dk = scale dS^T q, dv = drop(P)^T dy
void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& probs,
                        const AttentionSpec& spec, RandomStream r, const Tensor& dy, Tensor& dq,
                        Tensor& dk, Tensor& dv, Tensor& dbias) {
  const Sizes s = checked_sizes(q, k, v, spec);
  const int64_t square = s.Tq * s.Tk;
  check_numel("attention: dy, dq", q.numel(), dy, dq);
  check_numel("attention: dk, dv", k.numel(), dk, dv);
  check_numel("attention: probs", s.B * s.H * square, probs);
  if (dbias.defined()) {
    check_numel("attention: dbias", s.H * square, dbias);
    fill(0.0, dbias);
  }
  FLOAT_DISPATCH(q.dtype(), T, {
    // Head by head, sentences ascending: a thread that owns a head can sum its bias gradient in order.
    const int64_t items = dbias.defined() ? s.H : s.H * s.B,
                  per_item = s.H * s.B / std::max<int64_t>(items, 1);
    parallel_for(items, 1, [&](int64_t begin, int64_t end) {
      const Tensor scores = Tensor::empty({square}, q.dtype());
      const Tensor dropped = Tensor::empty({spec.dropout > 0 ? square : 0}, q.dtype());
      for (int64_t i = begin * per_item; i < end * per_item; ++i) {
        const int64_t h = i / s.B, b = i % s.B, first = (b * s.H + h) * square;
        const int64_t at_q = b * s.Tq * s.width + h * s.D, at_k = b * s.Tk * s.width + h * s.D;
        const T* P = probs.data<T>() + first;
        const T* dy_head = dy.data<T>() + at_q;
        T* dS = scores.data<T>();
        multiply_here<T>({s.Tq, s.Tk, s.D, dy_head, s.width, false, v.data<T>() + at_k, s.width,
                          true, dS, s.Tk});
        const T* used = P;
        if (spec.dropout > 0) {
          draw_loop(r, first, 0, square, drop<T>(P, dropped.data<T>(), spec.dropout));
          draw_loop(r, first, 0, square, drop<T>(dS, dS, spec.dropout));
          used = dropped.data<T>();
        }
        multiply_here<T>({s.Tk, s.D, s.Tq, used, s.Tk, true, dy_head, s.width, false,
                          dv.data<T>() + at_k, s.width});
        for (int64_t t = 0; t < s.Tq; ++t)
          softmax_row_backward(P + t * s.Tk, dS + t * s.Tk, dS + t * s.Tk, s.Tk);
        if (dbias.defined()) {
          T* sum = dbias.data<T>() + h * square;
          vector_loop(0, square, [=](int64_t j) { sum[j] += dS[j]; });
        }
        const T scale = T(spec.scale);
        vector_loop(0, square, [=](int64_t j) { dS[j] *= scale; });
        multiply_here<T>({s.Tq, s.D, s.Tk, dS, s.Tk, false, k.data<T>() + at_k, s.width, false,
                          dq.data<T>() + at_q, s.width});
        multiply_here<T>({s.Tk, s.D, s.Tq, dS, s.Tk, true, q.data<T>() + at_q, s.width, false,
                          dk.data<T>() + at_k, s.width});
      }
    });
  });
}

}  // namespace switchyard::cpu
