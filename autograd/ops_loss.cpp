// Label-smoothed cross-entropy, softmax fused: rows of logits against target indices; sums in f64.
#include "autograd/ops.h"

namespace switchyard {

CrossEntropy cross_entropy(const Var& logits, const Tensor& target, int64_t ignore,
                           double smoothing) {
  check(logits.data().rank() == 2 && target.numel() == logits.dim(0),
        concat("cross_entropy: logits ", to_string(logits.shape()), ", ", target.numel(),
               " targets"));
  const Tensor x = logits.data();
  Tensor loss = Tensor::empty({x.dim(0)}, x.dtype(), x.device());
  Tensor nll = empty_like(loss), lse = empty_like(loss);
  cross_entropy_forward(x, target, ignore, smoothing, loss, nll, lse);
  Tensor loss_sum = Tensor::empty({1}, DType::F64, x.device()), nll_sum = empty_like(loss_sum);
  sum_all(loss, loss_sum);
  sum_all(nll, nll_sum);

  CrossEntropy result;
  result.loss = make_node("cross_entropy", loss_sum.to(x.dtype()), {logits},
                          [x, target, ignore, smoothing, lse](const Tensor& dy) -> Grads {
                            Tensor dloss = Tensor::zeros({x.dim(0), 1}, dy.dtype(), dy.device());
                            add_row(dloss, dy, dloss);  // every row's loss counts once
                            Tensor dx = empty_like(x);
                            cross_entropy_backward(x, target, ignore, smoothing, lse,
                                                   dloss.reshape({x.dim(0)}), dx);
                            return {dx};
                          });
  result.nll = nll_sum.data<double>()[0];
  result.rows = 0;
  for (const int64_t t : target.to_vector<int64_t>()) result.rows += t != ignore;
  return result;
}

}  // namespace switchyard
