// Lookup, gather, scatter and the combination of expert rows. Index -1 stands for "no row".
// Scatters add in the order of i: each thread owns a range of columns and walks all rows.
#include "tensor/cpu/loops.h"

namespace switchyard::cpu {
namespace {

inline void check_index(int64_t i, int64_t n, const char* kernel) {
  if (i < -1 || i >= n) throw Error(concat(kernel, ": index ", i, " outside of ", n, " rows"));
}

}  // namespace

void gather_rows(const Tensor& x, const Tensor& index, Tensor& y) {
  const int64_t n = index.numel(), c = columns_of(y), source_rows = rows_of(x);
  check_numel(y, n * c, "gather_rows: y"), check_numel(x, source_rows * c, "gather_rows: x");
  const int64_t* at = index.data<int64_t>();
  FLOAT_DISPATCH(x.dtype(), T, {
    const T* px = x.data<T>();
    T* py = y.data<T>();
    each_row(n, c, [=](int64_t i) {
      check_index(at[i], source_rows, "gather_rows");
      if (at[i] < 0) std::fill(py + i * c, py + (i + 1) * c, T(0));
      else std::copy(px + at[i] * c, px + (at[i] + 1) * c, py + i * c);
    });
  });
}

void scatter_add_rows(const Tensor& x, const Tensor& index, Tensor& y) {
  const int64_t n = index.numel(), c = columns_of(y), target_rows = rows_of(y);
  check_numel(x, n * c, "scatter_add_rows: x");
  const int64_t* at = index.data<int64_t>();
  for (int64_t i = 0; i < n; ++i) check_index(at[i], target_rows, "scatter_add_rows");
  FLOAT_DISPATCH(x.dtype(), T, {
    const T* px = x.data<T>();
    T* py = y.data<T>();
    column_ranges(n, c, [&](int64_t begin, int64_t end) {
      for (int64_t i = 0; i < n; ++i) {
        if (at[i] < 0) continue;
        const T* row = px + i * c;
        T* sum = py + at[i] * c;
        vector_loop(begin, end, [=](int64_t j) { sum[j] += row[j]; });
      }
    });
  });
}

void gather_elements(const Tensor& x, const Tensor& row, const Tensor& column, Tensor& y) {
  const int64_t n = row.numel(), c = columns_of(x), rows = rows_of(x);
  check_same(row, column, "gather_elements"), check_same(row, y, "gather_elements");
  const int64_t *r = row.data<int64_t>(), *k = column.data<int64_t>();
  FLOAT_DISPATCH(x.dtype(), T, {
    const T* px = x.data<T>();
    T* py = y.data<T>();
    each_row(n, 1, [=](int64_t i) {
      check_index(r[i], rows, "gather_elements"), check_index(k[i], c, "gather_elements");
      py[i] = r[i] < 0 || k[i] < 0 ? T(0) : px[r[i] * c + k[i]];
    });
  });
}

void scatter_add_elements(const Tensor& y, const Tensor& row, const Tensor& column, Tensor& x) {
  const int64_t n = row.numel(), c = columns_of(x), rows = rows_of(x);
  check_same(row, column, "scatter_add_elements"), check_same(row, y, "scatter_add_elements");
  const int64_t *r = row.data<int64_t>(), *k = column.data<int64_t>();
  FLOAT_DISPATCH(x.dtype(), T, {
    const T* py = y.data<T>();
    T* px = x.data<T>();
    for (int64_t i = 0; i < n; ++i) {
      check_index(r[i], rows, "scatter_add_elements"), check_index(k[i], c, "scatter_add_elements");
      if (r[i] >= 0 && k[i] >= 0) px[r[i] * c + k[i]] += py[i];
    }
  });
}

void combine_forward(const Tensor& rows, const Tensor& offsets, const Tensor& position,
                     const Tensor& weight, Tensor& y) {
  const int64_t tokens = rows_of(y), c = columns_of(y), available = rows_of(rows);
  check_numel(offsets, tokens + 1, "combine: offsets"), check_same(position, weight, "combine");
  check_numel(rows, available * c, "combine: rows");
  const int64_t *o = offsets.data<int64_t>(), *at = position.data<int64_t>();
  FLOAT_DISPATCH(rows.dtype(), T, {
    const T *px = rows.data<T>(), *pw = weight.data<T>();
    T* py = y.data<T>();
    each_row(tokens, c, [=](int64_t s) {
      T* out = py + s * c;
      std::fill(out, out + c, T(0));
      for (int64_t i = o[s]; i < o[s + 1]; ++i) {
        check_index(at[i], available, "combine");
        if (at[i] < 0) continue;
        const T* row = px + at[i] * c;
        const T w = pw[i];
        vector_loop(0, c, [=](int64_t j) { out[j] = std::fma(w, row[j], out[j]); });
      }
    });
  });
}

// Every row is the choice of at most one token, so tokens may write their rows in parallel.
void combine_backward(const Tensor& dy, const Tensor& rows, const Tensor& offsets,
                      const Tensor& position, const Tensor& weight, Tensor& drows,
                      Tensor& dweight) {
  const int64_t tokens = rows_of(dy), c = columns_of(dy), available = rows_of(rows);
  check_numel(offsets, tokens + 1, "combine: offsets"), check_same(position, weight, "combine");
  check_same(rows, drows, "combine"), check_same(weight, dweight, "combine");
  const int64_t *o = offsets.data<int64_t>(), *at = position.data<int64_t>();
  fill(0.0, drows);
  FLOAT_DISPATCH(dy.dtype(), T, {
    const T *pdy = dy.data<T>(), *px = rows.data<T>(), *pw = weight.data<T>();
    T *pdx = drows.data<T>(), *pdw = dweight.data<T>();
    each_row(tokens, c, [=](int64_t s) {
      const T* d = pdy + s * c;
      for (int64_t i = o[s]; i < o[s + 1]; ++i) {
        check_index(at[i], available, "combine");
        if (at[i] < 0) {
          pdw[i] = 0;
          continue;
        }
        const T* row = px + at[i] * c;
        T* out = pdx + at[i] * c;
        const T w = pw[i];
        vector_loop(0, c, [=](int64_t j) { out[j] = w * d[j]; });
        pdw[i] = row_sum<T>(c, [=](int64_t j) { return d[j] * row[j]; });
      }
    });
  });
}

}  // namespace switchyard::cpu
