// Lookup, gather, scatter, sums of groups, and the combination of expert rows. Index -1 stands for "no row".
// Scatters add in the order of i: each thread owns a range of columns and walks all rows.
#include "tensor/cpu/loops.h"

namespace switchyard::cpu {
namespace {

// y[at[i]] += x[i], y in the compute type
void add_rows(const char* kernel, const Tensor& x, const int64_t* at, const Tensor& y) {
  with_element(kernel, x.dtype(), [&]<class X>(X) {
    column_ranges(rows_of(x), columns_of(y),
                  [=, n = rows_of(x), c = columns_of(y), x = x.data<X>(), y = y.data<Compute<X>>()](
                      int64_t begin, int64_t end) {
                    for (int64_t i = 0; i < n; ++i)
                      if (at[i] >= 0)
                        vector_loop(begin, end, [from = x + i * c, to = y + at[i] * c](int64_t j) {
                          to[j] += from[j];
                        });
                  });
  });
}

}  // namespace

void gather_rows(const Tensor& x, const Tensor& index, Tensor& y) {
  check_numel("gather_rows", rows_of(y), index);
  check_numel("gather_rows", rows_of(x) * columns_of(y), x);
  check_index("gather_rows", index, rows_of(x));
  const auto gather = [at = index.data<int64_t>()]<class T>(const Row&, int64_t i, int64_t c, T* y,
                                                            const T* x) {
    if (at[i] >= 0) std::copy_n(x + at[i] * c, c, y);
    else std::fill_n(y, c, T());
  };
  each_row("gather_rows", gather, y, any_row(x));
}

void scatter_add_rows(const Tensor& x, const Tensor& index, Tensor& y) {
  check_numel("scatter_add_rows", index.numel() * columns_of(y), x);
  check_index("scatter_add_rows", index, rows_of(y));
  check_dtype("scatter_add_rows", x.dtype(), y);
  const Tensor sums = y.to(compute_type(y.dtype()));  // y itself, or a copy, rounded in the end
  add_rows("scatter_add_rows", x.reshape({index.numel(), columns_of(y)}), index.data<int64_t>(),
           sums);
  if (sums.dtype() != y.dtype()) convert(sums, y);
}

void grouped_sum_rows(const Tensor& x, const Tensor& offsets, Tensor& y) {
  const int64_t n = rows_of(x), *o = checked_offsets("grouped_sum_rows", offsets, n);
  check_numel("grouped_sum_rows", (offsets.numel() - 1) * columns_of(x), y);
  const Tensor group = Tensor::empty({n}, DType::I64);  // of each row
  for (int64_t g = 0; g + 1 < offsets.numel(); ++g)
    std::fill(group.data<int64_t>() + o[g], group.data<int64_t>() + o[g + 1], g);
  fill(0.0, y);
  add_rows("grouped_sum_rows", x, group.data<int64_t>(), y);
}

void combine_forward(const Tensor& rows, const Tensor& offsets, const Tensor& position,
                     const Tensor& weight, Tensor& y) {
  const int64_t *o = offsets.data<int64_t>(), *at = position.data<int64_t>();
  check_numel("combine", rows_of(y) + 1, offsets);
  check_numel("combine", position.numel(), weight);
  check_numel("combine", rows_of(rows) * columns_of(y), rows);
  check_index("combine", position, rows_of(rows));
  if (y.dtype() == DType::BF16) {  // f32 sums of a copy, rounded in the end
    check_dtype("combine", DType::BF16, rows);
    Tensor sums = Tensor::empty(y.shape());
    combine_forward(rows.to(DType::F32), offsets, position, weight, sums);
    return convert(sums, y);
  }
  FLOAT_DISPATCH(y.dtype(), T, {
    row_loop(rows_of(y), columns_of(y),
             [=, c = columns_of(y), y = y.data<T>(), rows = rows.data<T>(),
              weight = weight.data<T>()](int64_t s) {
               T* sum = y + s * c;
               std::fill_n(sum, c, T(0));
               for (int64_t i = o[s]; i < o[s + 1]; ++i)
                 if (at[i] >= 0)
                   vector_loop(0, c, [=, row = rows + at[i] * c, w = weight[i]](int64_t j) {
                     sum[j] = std::fma(w, row[j], sum[j]);
                   });
             });
  });
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
  each_row("combine", backward, dy, any_row(rows), whole(weight), any_row(drows), whole(dweight));
}

}  // namespace switchyard::cpu
