// Matrix products with their gradients: for y = x w^T + b,  dx = dy w,  dw = dy^T x,  db = sum of dy's rows.
// Gradients that nobody asks for are not computed.
#include "autograd/ops.h"

namespace switchyard {

Var linear(const Var& x, const Var& w, const Var& b) {
  return grouped_linear(x, Tensor::of<int64_t>({0, x.dim(0)}), w, b);
}

Var grouped_linear(const Var& x, const Tensor& offsets, const Var& w, const Var& b) {
  const Tensor for_x = saved_if(x.requires_grad(), w), for_w = saved_if(w.requires_grad(), x);
  const Tensor bias = saved_if(b.defined(), b);
  Tensor y = empty_like(x.data(), {x.dim(0), w.dim(-2)});
  grouped_matmul(x.data(), offsets, w.data(), true, bias, y);
  return make_node(
      "linear", y, {x, w, b},
      [for_x, for_w, bias, offsets, width = x.dim(1), w_shape = w.shape()](const Tensor& dy) {
        Grads d(3);
        if (for_x.defined()) {
          d[0] = empty_like(dy, {dy.dim(0), width});
          grouped_matmul(dy, offsets, for_x, false, Tensor(), d[0]);
        }
        if (for_w.defined()) {
          d[1] = empty_like(dy, w_shape);
          grouped_matmul_dw(dy, for_w, offsets, d[1]);
        }
        if (bias.defined()) {
          d[2] = empty_like(bias);
          grouped_sum_rows(dy, offsets, d[2]);
        }
        return d;
      });
}

}  // namespace switchyard
