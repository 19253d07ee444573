// Label-smoothed cross-entropy, softmax fused: rows of logits against target indices; sums in f64.
#include <algorithm>

#include "autograd/ops.h"

namespace switchyard {

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
