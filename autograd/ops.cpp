// The differentiable ops in the order of the catalogue (ops.h), each with its gradient beside it.
// Gradients that nobody asks for are not computed.
#include "autograd/ops.h"

#include <algorithm>
#include <numeric>

#include "tensor/attention.h"

namespace switchyard {
namespace {

Tensor scaled(double alpha, const Tensor& x) {
  Tensor y = empty_like(x);
  scale(alpha, x, y);
  return y;
}

Tensor product(const Tensor& a, const Tensor& b) {
  Tensor y = empty_like(a);
  multiply(a, b, y);
  return y;
}

void check_same_shape(const char* op, const Var& a, const Var& b) {
  check(a.shape() == b.shape(),
        concat(op, ": shapes differ: ", to_string(a.shape()), " and ", to_string(b.shape())));
}

}  // namespace

Var add(const Var& a, const Var& b) {
  check_same_shape("add", a, b);
  Tensor y = empty_like(a.data());
  add(a.data(), b.data(), y);
  return make_node("add", y, {a, b}, [](const Tensor& dy) -> Grads { return {dy, dy}; });
}

Var mul(const Var& a, const Var& b) {
  check_same_shape("mul", a, b);
  const Tensor for_a = saved_if(a.requires_grad(), b), for_b = saved_if(b.requires_grad(), a);
  return make_node("mul", product(a.data(), b.data()), {a, b},
                   [for_a, for_b](const Tensor& dy) -> Grads {  // da = dy * b, db = dy * a
                     Grads d(2);
                     if (for_a.defined()) d[0] = product(dy, for_a);
                     if (for_b.defined()) d[1] = product(dy, for_b);
                     return d;
                   });
}

Var scale(const Var& x, double alpha) {
  return make_node("scale", scaled(alpha, x.data()), {x},
                   [alpha](const Tensor& dy) -> Grads { return {scaled(alpha, dy)}; });
}

Var scale_rows(const Var& x, const Var& s) {
  Tensor y = empty_like(x.data());
  scale_rows(x.data(), s.data(), y);
  const Tensor for_s = saved_if(s.requires_grad(), x);
  return make_node("scale_rows", y, {x, s}, [for_s, s = s.data()](const Tensor& dy) -> Grads {
    Tensor dx = empty_like(dy), ds;
    scale_rows(dy, s, dx);
    if (for_s.defined()) {  // ds[i] = sum_j dy[i, j] x[i, j]
      ds = empty_like(s);
      row_dot(dy, for_s, ds);
    }
    return {dx, ds};
  });
}

// The elementwise functors of tensor/elementwise.h: dx = dy * f'(x), given y = f(x)
#define SWITCHYARD_UNARY_OP(name, Functor)                                         \
  Var name(const Var& x) {                                                         \
    Tensor y = empty_like(x.data());                                               \
    name##_forward(x.data(), y);                                                   \
    return make_node(#name, y, {x}, [x = x.data(), y](const Tensor& dy) -> Grads { \
      Tensor dx = empty_like(x);                                                   \
      name##_backward(x, y, dy, dx);                                               \
      return {dx};                                                                 \
    });                                                                            \
  }
SWITCHYARD_UNARY_OPS(SWITCHYARD_UNARY_OP)
#undef SWITCHYARD_UNARY_OP

Var dropout(const Var& x, double p, RandomStream r, const Tensor& row_ids) {
  if (p == 0) return x;
  Tensor y = empty_like(x.data());
  const Tensor ids = row_ids.defined() ? row_ids.to(y.device()) : row_ids;
  dropout(x.data(), ids, r, p, y);
  // The same mask is drawn again: nothing to save.
  return make_node("dropout", y, {x}, [ids, r, p](const Tensor& dy) -> Grads {
    Tensor dx = empty_like(dy);
    dropout(dy, ids, r, p, dx);
    return {dx};
  });
}

Var sum(const Var& x) {
  return dot(x, Tensor::full(x.shape(), 1, x.data().dtype(), x.data().device()));
}

Var mean_rows(const Var& x) {
  const double share = 1.0 / double(std::max<int64_t>(x.dim(0), 1));  // no rows: mean 0
  const DType type = x.data().dtype();
  Tensor y = Tensor::empty({x.dim(1)}, compute_type(type), x.data().device());
  grouped_sum_rows(x.data(), Tensor::of<int64_t>({0, x.dim(0)}), y);
  scale(share, y, y);
  return make_node("mean_rows", y, {x}, [share, type, n = x.dim(0)](const Tensor& dy) -> Grads {
    return {repeated(scaled(share, dy).to(type), n)};
  });
}

Var dot(const Var& x, const Tensor& constant) {
  const Tensor c = constant.reshape(x.shape());
  Tensor y = Tensor::empty({1}, DType::F64, c.device());
  sum_all(product(x.data(), c), y);
  return make_node("dot", y.to(compute_type(c.dtype())), {x}, [c](const Tensor& dy) -> Grads {
    Tensor dx = empty_like(c, {1, c.numel()});
    scale_rows(c.reshape(dx.shape()), dy, dx);
    return {dx.reshape(c.shape())};
  });
}

Var cast(const Var& x, DType dtype) {
  const DType before = x.data().dtype();
  if (dtype == before) return x;
  return make_node("cast", x.data().to(dtype), {x},
                   [before](const Tensor& dy) -> Grads { return {dy.to(before)}; });
}

Var concat_rows(const std::vector<Var>& parts) {
  Shape shape = parts.at(0).shape();
  std::vector<int64_t> end = {0};  // of each part, after 0
  for (const Var& part : parts) end.push_back(end.back() + part.dim(0));
  shape[0] = end.back();
  Tensor y = empty_like(parts[0].data(), shape);
  for (size_t i = 0; i < parts.size(); ++i) {
    Tensor rows = y.slice(end[i], end[i + 1]);
    convert(parts[i].data(), rows);
  }
  return make_node("concat_rows", y, parts, [end](const Tensor& dy) {
    Grads d;
    for (size_t i = 0; i + 1 < end.size(); ++i) d.push_back(dy.slice(end[i], end[i + 1]));
    return d;
  });
}

// --- matrix products -----------------------------------------------------------------------------
// y = x w^T + b,  dx = dy w,  dw = dy^T x,  db = sum of dy's rows
// The type of x decides: with bf16 rows the products are in bf16 and meet rounded copies of w and b, whose
// own type and that of their gradients stays f32.
Var linear(const Var& x, const Var& w, const Var& b) {
  return grouped_linear(x, Tensor::of<int64_t>({0, x.dim(0)}), w, b);
}

Var grouped_linear(const Var& x, const Tensor& offsets, const Var& w, const Var& b) {
  const DType type = x.data().dtype();
  const Tensor weight = w.as(type), bias = b.defined() ? b.as(type) : Tensor();
  const Tensor for_x = x.requires_grad() ? weight : Tensor();
  const Tensor for_w = saved_if(w.requires_grad(), x);
  Tensor y = empty_like(x.data(), {x.dim(0), w.dim(-2)});
  grouped_matmul(x.data(), offsets, weight, true, bias, y);
  return make_node(
      "linear", y, {x, w, b},
      [for_x, for_w, offsets, width = x.dim(1), w_shape = w.shape(), w_type = w.data().dtype(),
       b_shape = b.defined() ? b.shape() : Shape()](const Tensor& dy) {
        Grads d(3);
        if (for_x.defined()) {
          d[0] = empty_like(dy, {dy.dim(0), width});
          grouped_matmul(dy, offsets, for_x, false, Tensor(), d[0]);
        }
        if (for_w.defined()) {
          d[1] = Tensor::empty(w_shape, w_type, dy.device());
          grouped_matmul_dw(dy, for_w, offsets, d[1]);
        }
        if (!b_shape.empty()) {
          d[2] = Tensor::empty(b_shape, w_type, dy.device());
          grouped_sum_rows(dy, offsets, d[2]);
        }
        return d;
      });
}

// --- norm, softmax, attention, loss --------------------------------------------------------------
// Along the last dimension: layer norm (Ba et al. 2016), softmax, and what has a softmax inside: attention
// and label-smoothed cross-entropy, whose losses are summed in f64.
Var layer_norm(const Var& x, const Var& w, const Var& b, double eps) {
  Tensor y = empty_like(x.data());
  Tensor mean = empty_like(w.data(), {y.numel() / y.dim(-1)}), rstd = empty_like(mean);
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
  const Tensor added = saved_if(bias.defined(), bias);  // [H, Tq, Tk]
  Tensor y = empty_like(q.data(), {spec.batch * spec.time_q, v.dim(1)});
  Tensor memory = attention_memory(q.data(), key_padding, added, spec);
  attention_forward(q.data(), k.data(), v.data(), key_padding, added, spec, r, y, memory);
  return make_node(
      "attention", y, {q, k, v, bias},
      [q = q.data(), k = k.data(), v = v.data(), key_padding, memory, y, spec, r,
       bias = bias.requires_grad() ? bias.data() : Tensor()](const Tensor& dy) -> Grads {
        Tensor dq = empty_like(q), dk = empty_like(k), dv = empty_like(v), dbias;
        if (bias.defined()) dbias = empty_like(bias);
        attention_backward(q, k, v, key_padding, memory, y, spec, r, dy, dq, dk, dv, dbias);
        return {dq, dk, dv, dbias};
      });
}

CrossEntropy cross_entropy(const Var& logits, const Tensor& target, int64_t ignore,
                           double smoothing) {
  const Tensor x = logits.data();
  const DType type = compute_type(x.dtype());
  Tensor loss = Tensor::empty({x.dim(0)}, type, x.device());
  Tensor nll = empty_like(loss), lse = empty_like(loss);
  cross_entropy_forward(x, target, ignore, smoothing, loss, nll, lse);
  Tensor loss_sum = Tensor::empty({1}, DType::F64, x.device()), nll_sum = empty_like(loss_sum);
  sum_all(loss, loss_sum);
  sum_all(nll, nll_sum);

  CrossEntropy result;
  result.loss = make_node("cross_entropy", loss_sum.to(type), {logits},
                          [x, target, ignore, smoothing, lse](const Tensor& dy) -> Grads {
                            Tensor dx = empty_like(x);
                            const Tensor dloss = repeated(dy, lse.numel());
                            cross_entropy_backward(x, target, ignore, smoothing, lse, dloss, dx);
                            return {dx};
                          });
  result.nll = nll_sum;
  const int64_t* t = target.data<int64_t>();
  result.rows = target.numel() - std::count(t, t + target.numel(), ignore);
  return result;
}

// --- lookup, gather, scatter ---------------------------------------------------------------------
// Gather (y[i] = x[index[i]]) and scatter (y[index[i]] += x[i]) are each other's gradient; index -1 stands
// for "no row" in both.
Tensor gathered(const Tensor& x, const Tensor& index) {
  Shape shape = x.shape();
  shape[0] = index.numel();
  Tensor y = empty_like(x, shape);
  gather_rows(x, index, y);
  return y;
}

Tensor repeated(const Tensor& row, int64_t n) {
  return gathered(row.reshape({1, row.numel()}), Tensor::zeros({n}, DType::I64, row.device()));
}

Var gather_rows(const Var& x, const Tensor& index, int64_t no_grad_row) {
  return make_node("gather_rows", gathered(x.data(), index), {x},
                   [index, no_grad_row, shape = x.shape()](const Tensor& dy) -> Grads {
                     Tensor dx = zeros_like(dy, shape);
                     scatter_add_rows(dy, index, dx);
                     if (no_grad_row >= 0) {
                       Tensor row = dx.slice(no_grad_row, no_grad_row + 1);
                       fill(0, row);
                     }
                     return {dx};
                   });
}

Var replace_rows(const Var& base, const Tensor& index, const Var& x) {
  const Tensor keep = Tensor::empty({base.dim(0)}, DType::I64);  // row -> itself, -1: x's goes here
  int64_t* kept = keep.data<int64_t>();
  std::iota(kept, kept + keep.numel(), 0);
  for (int64_t i = 0; i < index.numel(); ++i) {
    const int64_t row = index.data<int64_t>()[i];
    if (row < 0) continue;
    if (row >= keep.numel() || kept[row] < 0)
      throw Error(concat("replace_rows: row ", row, " of ", keep.numel(),
                         " is out of range or named twice"));
    kept[row] = -1;
  }
  const Tensor there = keep.to(base.data().device());
  Tensor y = gathered(base.data(), there);
  scatter_add_rows(x.data(), index, y);
  return make_node("replace_rows", y, {base, x}, [there, index](const Tensor& dy) -> Grads {
    return {gathered(dy, there), gathered(dy, index)};
  });
}

Var gather_columns(const Var& x, const Tensor& column) {
  const Tensor at = column.to(x.data().device());
  Tensor y = empty_like(x.data(), {at.numel()});
  gather_columns(x.data(), at, y);
  return make_node("gather_columns", y, {x}, [at, shape = x.shape()](const Tensor& dy) -> Grads {
    Tensor dx = zeros_like(dy, shape);
    scatter_add_columns(dy, at, dx);
    return {dx};
  });
}

// w_i = x_i / d,  d = max(sum of x_j over the choices of i's token, epsilon)
// dx_i = (dw_i - sum_j dw_j w_j) / d;  the sum is absent where epsilon took over
Var normalize(const Var& x, const Tensor& offsets) {
  const Tensor o = offsets.to(x.data().device());
  Tensor w = empty_like(x.data()), d = empty_like(w, {o.numel() - 1});
  normalize_forward(x.data(), o, w, d);
  return make_node("normalize", w, {x}, [w, d, o](const Tensor& dw) -> Grads {
    Tensor dx = empty_like(w);
    normalize_backward(dw, w, o, d, dx);
    return {dx};
  });
}

Var combine_rows(const Var& rows, const Tensor& offsets, const Tensor& position,
                 const Var& weight) {
  Tensor y = empty_like(rows.data(), {offsets.numel() - 1, rows.dim(1)});  // [S, d]
  const Tensor o = offsets.to(y.device()), at = position.to(y.device());
  check_index("combine_rows", position, rows.dim(0));
  combine_forward(rows.data(), o, at, weight.data(), y);
  return make_node("combine_rows", y, {rows, weight},
                   [rows = rows.data(), o, at, weight = weight.data()](const Tensor& dy) -> Grads {
                     Tensor drows = empty_like(rows), dweight = empty_like(weight);
                     combine_backward(dy, rows, o, at, weight, drows, dweight);
                     return {drows, dweight};
                   });
}

}  // namespace switchyard
