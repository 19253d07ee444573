// Layer norm (Ba et al. 2016) and softmax, along the last dimension.
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

}  // namespace switchyard
