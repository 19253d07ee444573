// Matrix products with their gradients: for y = x w^T + b,  dx = dy w,  dw = dy^T x,  db = sum of dy's rows.
// Gradients that nobody asks for are not computed.
#include "autograd/ops.h"

namespace switchyard {
namespace {

Tensor product(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b,
               const Tensor& bias = {}) {
  check(a.rank() == 2 && b.rank() == 2 && a.dim(transpose_a ? 0 : 1) == b.dim(transpose_b ? 1 : 0),
        concat("matmul: ", to_string(a.shape()), transpose_a ? "^T" : "", " times ",
               to_string(b.shape()), transpose_b ? "^T" : ""));
  Tensor c = empty_like(a, {a.dim(transpose_a ? 1 : 0), b.dim(transpose_b ? 0 : 1)});
  matmul(a, transpose_a, b, transpose_b, bias, false, c);
  return c;
}

}  // namespace

Var linear(const Var& x, const Var& w, const Var& b) {
  const Tensor for_x = saved_if(x.requires_grad(), w), for_w = saved_if(w.requires_grad(), x);
  const Tensor bias = saved_if(b.defined(), b);  // [m]
  return make_node("linear", product(x.data(), false, w.data(), true, bias), {x, w, b},
                   [for_x, for_w, bias](const Tensor& dy) {
                     Grads d(3);
                     if (for_x.defined()) d[0] = product(dy, false, for_x, false);
                     if (for_w.defined()) d[1] = product(dy, true, for_w, false);
                     if (bias.defined()) {
                       d[2] = zeros_like(bias);
                       sum_rows(dy, d[2]);
                     }
                     return d;
                   });
}

Var grouped_linear(const Var& x, const Tensor& offsets, const Var& w, const Var& b) {
  check(w.data().rank() == 3 && offsets.numel() == w.dim(0) + 1 && x.dim(1) == w.dim(2),
        concat("grouped_linear: x ", to_string(x.shape()), ", w ", to_string(w.shape()), ", ",
               offsets.numel(), " offsets"));
  const Tensor for_x = saved_if(x.requires_grad(), w), for_w = saved_if(w.requires_grad(), x);
  const Tensor bias = saved_if(b.defined(), b);  // [G, m]
  Tensor y = empty_like(x.data(), {x.dim(0), w.dim(1)});
  grouped_matmul(x.data(), offsets, w.data(), true, bias, y);
  return make_node(
      "grouped_linear", y, {x, w, b},
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
