// Lookup, gather, scatter and the combination of expert rows. Index -1 stands for "no row".
// Scatters add in the order of i: each thread owns a range of columns and walks all rows.
#include "tensor/cpu/loops.h"

namespace switchyard::cpu {
namespace {

inline void check_index(int64_t i, int64_t n, const char* kernel) {
  if (i < -1 || i >= n) throw Error(concat(kernel, ": index ", i, " outside of ", n, " rows"));
}

// f(y[i], x[row[i], column[i]]), i ascending; where an index is -1, the element of x is a 0 apart
template <class F>
void each_pair(const char* kernel, const Tensor& x, const Tensor& row, const Tensor& column,
               const Tensor& y, const F& f) {
  const int64_t n = y.numel(), c = columns_of(x), rows = rows_of(x);
  check_numel(kernel, n, row, column);
  const int64_t *r = row.data<int64_t>(), *k = column.data<int64_t>();
  FLOAT_DISPATCH(x.dtype(), T, {
    T *px = x.data<T>(), *py = y.data<T>();
    for (int64_t i = 0; i < n; ++i) {
      check_index(r[i], rows, kernel), check_index(k[i], c, kernel);
      T absent = 0;
      f(py[i], r[i] < 0 || k[i] < 0 ? absent : px[r[i] * c + k[i]]);
    }
  });
}

}  // namespace

void gather_rows(const Tensor& x, const Tensor& index, Tensor& y) {
  const int64_t n = index.numel(), c = columns_of(y), source_rows = rows_of(x);
  check_numel("gather_rows", n * c, y), check_numel("gather_rows", source_rows * c, x);
  const int64_t* at = index.data<int64_t>();
  FLOAT_DISPATCH(x.dtype(), T, {
    each_row(n, c, [=, px = x.data<T>(), py = y.data<T>()](int64_t i) {
      check_index(at[i], source_rows, "gather_rows");
      if (at[i] < 0) std::fill_n(py + i * c, c, T(0));
      else std::copy_n(px + at[i] * c, c, py + i * c);
    });
  });
}

void scatter_add_rows(const Tensor& x, const Tensor& index, Tensor& y) {
  const int64_t n = index.numel(), c = columns_of(y), target_rows = rows_of(y);
  check_numel("scatter_add_rows", n * c, x);
  const int64_t* at = index.data<int64_t>();
  for (int64_t i = 0; i < n; ++i) check_index(at[i], target_rows, "scatter_add_rows");
  FLOAT_DISPATCH(x.dtype(), T, {
    add_rows<T>(x.data<T>(), n, c, y.data<T>(), [=](int64_t i) { return at[i]; });
  });
}

void gather_elements(const Tensor& x, const Tensor& row, const Tensor& column, Tensor& y) {
  each_pair("gather_elements", x, row, column, y, [](auto& to, auto from) { to = from; });
}
void scatter_add_elements(const Tensor& y, const Tensor& row, const Tensor& column, Tensor& x) {
  each_pair("scatter_add_elements", x, row, column, y, [](auto from, auto& to) { to += from; });
}

void combine_forward(const Tensor& rows, const Tensor& offsets, const Tensor& position,
                     const Tensor& weight, Tensor& y) {
  const int64_t tokens = rows_of(y), c = columns_of(y), available = rows_of(rows);
  check_numel("combine", tokens + 1, offsets), check_numel("combine", position.numel(), weight);
  check_numel("combine", available * c, rows);
  const int64_t *o = offsets.data<int64_t>(), *at = position.data<int64_t>();
  FLOAT_DISPATCH(rows.dtype(), T, {
    const T *px = rows.data<T>(), *pw = weight.data<T>();
    each_row(tokens, c, [=, py = y.data<T>()](int64_t s) {
      T* out = py + s * c;
      std::fill_n(out, c, T(0));
      for (int64_t i = o[s]; i < o[s + 1]; ++i) {
        check_index(at[i], available, "combine");
        if (at[i] < 0) continue;
        vector_loop(0, c, [=, row = px + at[i] * c, w = pw[i]](int64_t j) {
          out[j] = std::fma(w, row[j], out[j]);
        });
      }
    });
  });
}

// Every row is the choice of at most one token, so tokens may write their rows in parallel.
void combine_backward(const Tensor& dy, const Tensor& rows, const Tensor& offsets,
                      const Tensor& position, const Tensor& weight, Tensor& drows,
                      Tensor& dweight) {
  const int64_t tokens = rows_of(dy), c = columns_of(dy), available = rows_of(rows);
  check_numel("combine", tokens + 1, offsets), check_numel("combine", available * c, rows, drows);
  check_numel("combine", position.numel(), weight, dweight);
  const int64_t *o = offsets.data<int64_t>(), *at = position.data<int64_t>();
  fill(0.0, drows), fill(0.0, dweight);
  FLOAT_DISPATCH(dy.dtype(), T, {
    const T *pdy = dy.data<T>(), *px = rows.data<T>(), *pw = weight.data<T>();
    each_row(tokens, c, [=, pdx = drows.data<T>(), pdw = dweight.data<T>()](int64_t s) {
      const T* d = pdy + s * c;
      for (int64_t i = o[s]; i < o[s + 1]; ++i) {
        check_index(at[i], available, "combine");
        if (at[i] < 0) continue;
        const T* row = px + at[i] * c;
        vector_loop(0, c, [=, out = pdx + at[i] * c, w = pw[i]](int64_t j) { out[j] = w * d[j]; });
        pdw[i] = row_sum<T>(c, [=](int64_t j) { return d[j] * row[j]; });
      }
    });
  });
}

}  // namespace switchyard::cpu
