// Lookup, gather, scatter. Gather (y[i] = x[index[i]]) and scatter (y[index[i]] += x[i]) are each other's
// gradient; index -1 stands for "no row" in both.
#include <numeric>

#include "autograd/ops.h"

namespace switchyard {

Tensor gathered(const Tensor& x, const Tensor& index) {
  Shape shape = x.shape();
  shape[0] = index.numel();
  Tensor y = empty_like(x, shape);
  gather_rows(x, index, y);
  return y;
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
  std::vector<int64_t> kept(base.dim(0));  // row -> itself, or -1 where x's row goes
  std::iota(kept.begin(), kept.end(), 0);
  for (const int64_t row : index.to_vector<int64_t>()) {
    if (row < 0) continue;
    check(
        row < base.dim(0) && kept[row] >= 0,
        concat("replace_rows: row ", row, " of ", base.dim(0), " is out of range or named twice"));
    kept[row] = -1;
  }
  const Tensor keep = Tensor::of(kept);
  Tensor y = gathered(base.data(), keep);
  scatter_add_rows(x.data(), index, y);
  return make_node("replace_rows", y, {base, x}, [keep, index](const Tensor& dy) -> Grads {
    return {gathered(dy, keep), gathered(dy, index)};
  });
}

Var gather_elements(const Var& x, const Tensor& row, const Tensor& column) {
  const Tensor elements = x.data().reshape({x.data().numel(), 1});  // one element is a row of these
  Tensor at = empty_like(row);
  for (int64_t i = 0; i < row.numel(); ++i) {
    const int64_t r = row.data<int64_t>()[i], c = column.data<int64_t>()[i];
    check(c < x.dim(1), "gather_elements: column out of range");
    at.data<int64_t>()[i] = r < 0 || c < 0 ? -1 : r * x.dim(1) + c;
  }
  return make_node("gather_elements", gathered(elements, at).reshape({row.numel()}), {x},
                   [at, shape = x.shape()](const Tensor& dy) -> Grads {
                     const Tensor dx = zeros_like(dy, shape);
                     Tensor delements = dx.reshape({dx.numel(), 1});
                     scatter_add_rows(dy, at, delements);
                     return {dx};
                   });
}

Var combine_rows(const Var& rows, const Tensor& offsets, const Tensor& position,
                 const Var& weight) {
  Tensor y = empty_like(rows.data(), {offsets.numel() - 1, rows.dim(1)});  // [S, d]
  combine_forward(rows.data(), offsets, position, weight.data(), y);
  return make_node(
      "combine_rows", y, {rows, weight},
      [rows = rows.data(), offsets, position, weight = weight.data()](const Tensor& dy) -> Grads {
        Tensor drows = empty_like(rows), dweight = empty_like(weight);
        combine_backward(dy, rows, offsets, position, weight, drows, dweight);
        return {drows, dweight};
      });
}

}  // namespace switchyard
