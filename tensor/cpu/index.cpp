// Lookup, gather, scatter and the combination of expert rows. Index -1 stands for "no row".
// Scatters add in the order of i: each thread owns a range of columns and walks all rows.
#include "tensor/cpu/loops.h"

namespace switchyard::cpu {

void gather_rows(const Tensor& x, const Tensor& index, Tensor& y) {
  check_numel("gather_rows", rows_of(y), index);
  check_numel("gather_rows", rows_of(x) * columns_of(y), x);
  check_index("gather_rows", index, rows_of(x));
  const auto gather = [at = index.data<int64_t>()]<class T>(const Row&, int64_t i, int64_t c, T* y,
                                                            const T* x) {
    if (at[i] >= 0) std::copy_n(x + at[i] * c, c, y);
    else std::fill_n(y, c, T());
  };
  each_row("gather_rows", gather, y, whole(x));
}

void scatter_add_rows(const Tensor& x, const Tensor& index, Tensor& y) {
  const int64_t n = index.numel(), c = columns_of(y), *at = index.data<int64_t>();
  check_numel("scatter_add_rows", n * c, x);
  check_index("scatter_add_rows", index, rows_of(y));
  FLOAT_DISPATCH(x.dtype(), T, {
    column_ranges(n, c, [=, x = x.data<T>(), y = y.data<T>()](int64_t begin, int64_t end) {
      for (int64_t i = 0; i < n; ++i)
        if (at[i] >= 0)
          vector_loop(begin, end,
                      [from = x + i * c, to = y + at[i] * c](int64_t j) { to[j] += from[j]; });
    });
  });
}

void combine_forward(const Tensor& rows, const Tensor& offsets, const Tensor& position,
                     const Tensor& weight, Tensor& y) {
  const int64_t *o = offsets.data<int64_t>(), *at = position.data<int64_t>();
  check_numel("combine", rows_of(y) + 1, offsets);
  check_numel("combine", position.numel(), weight);
  check_numel("combine", rows_of(rows) * columns_of(y), rows);
  check_index("combine", position, rows_of(rows));
  const auto combine = [=](const Row&, int64_t s, int64_t c, auto* y, auto* rows, auto* weight) {
    std::fill_n(y, c, 0);
    for (int64_t i = o[s]; i < o[s + 1]; ++i)
      if (at[i] >= 0)
        vector_loop(0, c, [=, row = rows + at[i] * c, w = weight[i]](int64_t j) {
          y[j] = std::fma(w, row[j], y[j]);
        });
  };
  each_row("combine", combine, y, whole(rows), whole(weight));
}

// Every row is the choice of at most one token, so tokens may write their rows in parallel.
void combine_backward(const Tensor& dy, const Tensor& rows, const Tensor& offsets,
                      const Tensor& position, const Tensor& weight, Tensor& drows,
                      Tensor& dweight) {
  const int64_t *o = offsets.data<int64_t>(), *at = position.data<int64_t>();
  check_numel("combine", rows_of(dy) + 1, offsets);
  check_numel("combine", position.numel(), weight, dweight);
  check_numel("combine", rows_of(rows) * columns_of(dy), rows, drows);
  check_index("combine", position, rows_of(rows));
  fill(0.0, drows), fill(0.0, dweight);
  const auto backward = [=](const Row& row, int64_t s, int64_t c, auto* dy, auto* x, auto* weight,
                            auto* dx, auto* dweight) {
    for (int64_t i = o[s]; i < o[s + 1]; ++i)
      if (at[i] >= 0)
        rows::combine_backward(row, c, weight[i], dy, x + at[i] * c, dx + at[i] * c, dweight + i);
  };
  each_row("combine", backward, dy, whole(rows), whole(weight), whole(drows), whole(dweight));
}

}  // namespace switchyard::cpu
