// Along the last dimension: layer norm (Ba et al. 2016), softmax, and label-smoothed cross-entropy with the
// softmax inside; losses are summed in f64.
#include <algorithm>

#include "autograd/ops.h"

namespace switchyard {

Var layer_norm(const Var& x, const Var& w, const Var& b, double eps) {
  check(w.data().numel() == x.dim(-1) && b.data().numel() == x.dim(-1),
        concat("layer_norm: x ", to_string(x.shape()), ", w ", to_string(w.shape()), ", b ",
               to_string(b.shape())));
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

CrossEntropy cross_entropy(const Var& logits, const Tensor& target, int64_t ignore,
                           double smoothing) {
  check(logits.data().rank() == 2 && target.numel() == logits.dim(0),
        concat("cross_entropy: logits ", to_string(logits.shape()), ", ", target.numel(),
               " targets"));
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
