// Elementwise ops, sums and reshapes, each with its gradient beside it.
// Read before: ops.h, and style of an op in ops_softmax.cpp (softmax).
#include "autograd/ops.h"

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
  dropout(x.data(), row_ids, r, p, y);
  // The same mask is drawn again: nothing to save.
  return make_node("dropout", y, {x}, [row_ids, r, p](const Tensor& dy) -> Grads {
    Tensor dx = empty_like(dy);
    dropout(dy, row_ids, r, p, dx);
    return {dx};
  });
}

Var sum(const Var& x) { return dot(x, Tensor::full(x.shape(), 1, x.data().dtype())); }

Var mean_rows(const Var& x) {
  const double share = 1.0 / double(std::max<int64_t>(x.dim(0), 1));  // no rows: mean 0
  Tensor y = empty_like(x.data(), {x.dim(1)});
  grouped_sum_rows(x.data(), Tensor::of<int64_t>({0, x.dim(0)}), y);
  scale(share, y, y);
  return make_node("mean_rows", y, {x}, [share, n = x.dim(0)](const Tensor& dy) -> Grads {
    const Tensor drow = scaled(share, dy).reshape({1, dy.numel()});
    return {gathered(drow, Tensor::zeros({n}, DType::I64))};  // every row gets it
  });
}

Var dot(const Var& x, const Tensor& constant) {
  const Tensor c = constant.reshape(x.shape());
  Tensor y = Tensor::empty({1}, DType::F64, c.device());
  sum_all(product(x.data(), c), y);
  return make_node("dot", y.to(x.data().dtype()), {x},
                   [c](const Tensor& dy) -> Grads { return {scaled(value_of(dy), c)}; });
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

}  // namespace switchyard
