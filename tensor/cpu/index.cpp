// Lookup, gather, scatter and the combination of expert rows. Index -1 stands for "no row".
// Scatters add in the order of i: each thread owns a range of columns and walks all rows.
#include "tensor/cpu/loops.h"

namespace switchyard::cpu {
namespace {

// Does index i name one of n rows? It must, or be -1.
inline bool names_row(const char* kernel, int64_t i, int64_t n) {
  if (i < -1 || i >= n) throw Error(concat(kernel, ": index ", i, " outside of ", n, " rows"));
  return i >= 0;
}

}  // namespace

void gather_rows(const Tensor& x, const Tensor& index, Tensor& y) {
  const int64_t n = rows_of(x), *at = index.data<int64_t>();
  check_numel("gather_rows", rows_of(y), index);
  check_numel("gather_rows", n * columns_of(y), x);
  each_row("gather_rows", {y, whole(x)}, [=](int64_t i, int64_t c, auto* y, auto* x) {
    if (names_row("gather_rows", at[i], n)) std::copy_n(x + at[i] * c, c, y);
    else std::fill_n(y, c, 0);
  });
}

void scatter_add_rows(const Tensor& x, const Tensor& index, Tensor& y) {
  const int64_t n = index.numel(), c = columns_of(y), *at = index.data<int64_t>();
  check_numel("scatter_add_rows", n * c, x);
  for (int64_t i = 0; i < n; ++i) names_row("scatter_add_rows", at[i], rows_of(y));
  with_pointers("scatter_add_rows", {x, y}, [=](auto* x, auto* y) {
    column_ranges(n, c, [=](int64_t begin, int64_t end) {
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
  const int64_t available = rows_of(rows);
  check_numel("combine", rows_of(y) + 1, offsets);
  check_numel("combine", position.numel(), weight);
  check_numel("combine", available * columns_of(y), rows);
  each_row("combine", {y, whole(rows), whole(weight)},
           [=](int64_t s, int64_t c, auto* y, auto* rows, auto* weight) {
             std::fill_n(y, c, 0);
             for (int64_t i = o[s]; i < o[s + 1]; ++i)
               if (names_row("combine", at[i], available))
                 vector_loop(0, c, [=, row = rows + at[i] * c, w = weight[i]](int64_t j) {
                   y[j] = std::fma(w, row[j], y[j]);
                 });
           });
}

// Every row is the choice of at most one token, so tokens may write their rows in parallel.
void combine_backward(const Tensor& dy, const Tensor& rows, const Tensor& offsets,
                      const Tensor& position, const Tensor& weight, Tensor& drows,
                      Tensor& dweight) {
  const int64_t *o = offsets.data<int64_t>(), *at = position.data<int64_t>();
  const int64_t available = rows_of(rows);
  check_numel("combine", rows_of(dy) + 1, offsets);
  check_numel("combine", position.numel(), weight, dweight);
  check_numel("combine", available * columns_of(dy), rows, drows);
  fill(0.0, drows), fill(0.0, dweight);
  each_row(
      "combine", {dy, whole(rows), whole(weight), whole(drows), whole(dweight)},
      [=](int64_t s, int64_t c, auto* dy, auto* rows, auto* weight, auto* drows, auto* dweight) {
        for (int64_t i = o[s]; i < o[s + 1]; ++i) {
          if (!names_row("combine", at[i], available)) continue;
          const auto* row = rows + at[i] * c;
          vector_loop(
              0, c, [=, out = drows + at[i] * c, w = weight[i]](int64_t j) { out[j] = w * dy[j]; });
          dweight[i] = row_sum(c, [=](int64_t j) { return dy[j] * row[j]; });
        }
      });
}

}  // namespace switchyard::cpu
