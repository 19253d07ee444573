// Along the last dimension: layer norm (Ba et al. 2016), softmax, and what has a softmax inside: attention
// and label-smoothed cross-entropy, whose losses are summed in f64.
#include <algorithm>

#include "autograd/ops.h"

namespace switchyard {

Var layer_norm(const Var& x, const Var& w, const Var& b, double eps) {
  Tensor y = empty_like(x.data());
  Tensor mean = empty_like(y, {y.numel() / y.dim(-1)}), rstd = empty_like(mean);
  layer_norm_forward(x.data(), w.data(), b.data(), eps, y, mean, rstd);
  return make_node("layer_norm", y, {x, w, b},
                   [x = x.data(), w = w.data(), mean, rstd](const Tensor& dy) -> Grads {
                     Tensor dx = empty_like(x), dw = empty_like(w), db = empty_like(w);
                     layer_norm_backward(x, w, mean, rstd, dy, dx, dw, db);
                     return {dx, dw, db};
                   });
}

Var softmax(const Var& x) {
  Tensor y = empty_like(x.data());
  softmax_forward(x.data(), y);
  return make_node("softmax", y, {x}, [y](const Tensor& dy) -> Grads {  // dx = y (dy - sum(dy y))
    Tensor dx = empty_like(y);
    softmax_backward(y, dy, dx);
    return {dx};
  });
}

// Scaled dot-product attention (Vaswani et al. 2017) over heads laid side by side in the columns:
// y = dropout(softmax(scale q k^T + bias, masked)) v. Only this op knows batch and time.
Var attention(const Var& q, const Var& k, const Var& v, const Tensor& key_padding, const Var& bias,
              const AttentionSpec& spec, RandomStream r) {
  const int64_t B = spec.batch, Tq = spec.time_q, Tk = spec.time_k, H = spec.heads;
  const Tensor added = saved_if(bias.defined(), bias);  // [H, Tq, Tk]
  Tensor y = empty_like(q.data(), {B * Tq, v.dim(1)}), probs = empty_like(y, {B, H, Tq, Tk});
  attention_forward(q.data(), k.data(), v.data(), key_padding, added, spec, r, y, probs);
  return make_node("attention", y, {q, k, v, bias},
                   [q = q.data(), k = k.data(), v = v.data(), probs, spec, r, H, Tq, Tk,
                    bias_grad = bias.requires_grad()](const Tensor& dy) -> Grads {
                     Tensor dq = empty_like(q), dk = empty_like(k), dv = empty_like(v), dbias;
                     if (bias_grad) dbias = empty_like(q, {H, Tq, Tk});
                     attention_backward(q, k, v, probs, spec, r, dy, dq, dk, dv, dbias);
                     return {dq, dk, dv, dbias};
                   });
}

CrossEntropy cross_entropy(const Var& logits, const Tensor& target, int64_t ignore,
                           double smoothing) {
  const Tensor x = logits.data();
  Tensor loss = empty_like(x, {x.dim(0)});
  Tensor nll = empty_like(loss), lse = empty_like(loss);
  cross_entropy_forward(x, target, ignore, smoothing, loss, nll, lse);
  Tensor loss_sum = Tensor::empty({1}, DType::F64, x.device()), nll_sum = empty_like(loss_sum);
  sum_all(loss, loss_sum);
  sum_all(nll, nll_sum);

  CrossEntropy result;
  result.loss = make_node("cross_entropy", loss_sum.to(x.dtype()), {logits},
                          [x, target, ignore, smoothing, lse](const Tensor& dy) -> Grads {
                            Tensor dloss = empty_like(lse), dx = empty_like(x);
                            fill(value_of(dy), dloss);  // every row's loss counts once
                            cross_entropy_backward(x, target, ignore, smoothing, lse, dloss, dx);
                            return {dx};
                          });
  result.nll = value_of(nll_sum);
  const int64_t* t = target.data<int64_t>();
  result.rows = target.numel() - std::count(t, t + target.numel(), ignore);
  return result;
}

}  // namespace switchyard
