// Matrix products with their gradients: for y = x w^T + b,  dx = dy w,  dw = dy^T x,  db = sum of dy's rows.
// Gradients that nobody asks for are not computed.
#include "autograd/ops.h"

namespace switchyard {
namespace {

Tensor saved_if(bool wanted, const Var& x) { return wanted ? x.data() : Tensor(); }

Tensor product(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b,
               const Tensor& bias = {}) {
  check(a.rank() == 2 && b.rank() == 2 && a.dim(transpose_a ? 0 : 1) == b.dim(transpose_b ? 1 : 0),
        concat("matmul: ", to_string(a.shape()), transpose_a ? "^T" : "", " times ",
               to_string(b.shape()), transpose_b ? "^T" : ""));
  Tensor c = Tensor::empty({a.dim(transpose_a ? 1 : 0), b.dim(transpose_b ? 0 : 1)}, a.dtype(),
                           a.device());
  matmul(a, transpose_a, b, transpose_b, bias, false, c);
  return c;
}

}  // namespace

Var linear(const Var& x, const Var& w, const Var& b) {
  const Tensor for_x = saved_if(x.requires_grad(), w), for_w = saved_if(w.requires_grad(), x);
  const Tensor bias = b.defined() ? b.data() : Tensor();  // [m]
  std::vector<Var> inputs = {x, w};
  if (b.defined()) inputs.push_back(b);
  return make_node("linear", product(x.data(), false, w.data(), true, bias), inputs,
                   [for_x, for_w, bias](const Tensor& dy) {
                     Grads d(2);
                     if (for_x.defined()) d[0] = product(dy, false, for_x, false);
                     if (for_w.defined()) d[1] = product(dy, true, for_w, false);
                     if (bias.defined()) {
                       d.push_back(zeros_like(bias));
                       sum_rows(dy, d[2]);
                     }
                     return d;
                   });
}

Var matmul(const Var& a, const Var& b, bool transpose_a, bool transpose_b) {
  const Tensor for_a = saved_if(a.requires_grad(), b), for_b = saved_if(b.requires_grad(), a);
  const bool ta = transpose_a, tb = transpose_b;
  return make_node("matmul", product(a.data(), ta, b.data(), tb), {a, b},
                   [for_a, for_b, ta, tb](const Tensor& dy) {
                     Grads d(2);
                     if (for_a.defined())  // d op(a) = dy op(b)^T; transposed if a is
                       d[0] = ta ? product(for_a, tb, dy, true) : product(dy, false, for_a, !tb);
                     if (for_b.defined())  // d op(b) = op(a)^T dy
                       d[1] = tb ? product(dy, true, for_b, ta) : product(for_b, !ta, dy, false);
                     return d;
                   });
}

Var grouped_linear(const Var& x, const Tensor& offsets, const Var& w, const Var& b) {
  check(w.data().rank() == 3 && offsets.numel() == w.dim(0) + 1 && x.dim(1) == w.dim(2),
        concat("grouped_linear: x ", to_string(x.shape()), ", w ", to_string(w.shape()), ", ",
               offsets.numel(), " offsets"));
  const Tensor for_x = saved_if(x.requires_grad(), w), for_w = saved_if(w.requires_grad(), x);
  const Tensor bias = b.defined() ? b.data() : Tensor();  // [G, m]
  Tensor y = Tensor::empty({x.dim(0), w.dim(1)}, x.data().dtype(), x.data().device());
  grouped_matmul(x.data(), offsets, w.data(), true, bias, y);
  std::vector<Var> inputs = {x, w};
  if (b.defined()) inputs.push_back(b);
  return make_node(
      "grouped_linear", y, inputs,
      [for_x, for_w, bias, offsets, width = x.dim(1), w_shape = w.shape()](const Tensor& dy) {
        Grads d(2);
        if (for_x.defined()) {
          d[0] = Tensor::empty({dy.dim(0), width}, dy.dtype(), dy.device());
          grouped_matmul(dy, offsets, for_x, false, Tensor(), d[0]);
        }
        if (for_w.defined()) {
          d[1] = Tensor::empty(w_shape, dy.dtype(), dy.device());
          grouped_matmul_dw(dy, for_w, offsets, d[1]);
        }
        if (bias.defined()) {
          d.push_back(empty_like(bias));
          grouped_sum_rows(dy, offsets, d[2]);
        }
        return d;
      });
}

}  // namespace switchyard
