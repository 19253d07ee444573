// The gates of a mixture of experts: loops over the formulas of gate.h.
#include "tensor/gate.h"

#include "tensor/cpu/loops.h"

namespace switchyard::cpu {

void fill_columns(double value, const Tensor& column, Tensor& y) {
  const int64_t n = rows_of(y), c = columns_of(y), k = columns_of(column);
  check_numel("fill_columns", n * k, column);
  check_index("fill_columns", column, c, 0);
  FLOAT_DISPATCH(y.dtype(), T, {
    row_loop(n, k, gate::FillColumns<T>{T(value), column.data<int64_t>(), y.data<T>(), c, k});
  });
}

void gather_columns(const Tensor& x, const Tensor& column, Tensor& y) {
  const int64_t n = rows_of(x), c = columns_of(x), k = columns_of(column);
  check_numel("gather_columns", n * k, column, y);
  check_index("gather_columns", column, c, 0);
  with_pointers("gather_columns", {x, y}, [=, at = column.data<int64_t>()]<class T>(T* x, T* y) {
    row_loop(n, k, gate::GatherColumns<T>{x, at, y, c, k});
  });
}

void scatter_add_columns(const Tensor& x, const Tensor& column, Tensor& y) {
  const int64_t n = rows_of(y), c = columns_of(y), k = columns_of(column);
  check_numel("scatter_add_columns", n * k, column, x);
  check_index("scatter_add_columns", column, c, 0);
  with_pointers("scatter_add_columns", {x, y},
                [=, at = column.data<int64_t>()]<class T>(T* x, T* y) {
                  row_loop(n, k, gate::ScatterAddColumns<T>{x, at, y, c, k});
                });
}

void row_entropy(const Tensor& p, Tensor& y) {
  each_row("row_entropy", {p, one(y)}, gate::RowEntropy());
}

void normalize_forward(const Tensor& x, const Tensor& offsets, Tensor& y, Tensor& d) {
  check_numel("normalize", x.numel(), y);
  check_numel("normalize", d.numel() + 1, offsets);
  with_pointers("normalize", {x, y, d},
                [=, o = checked_offsets("normalize", offsets, x.numel()),
                 tokens = d.numel()]<class T>(T* x, T* y, T* d) {
                  row_loop(tokens, 1, gate::Normalize<T>{x, o, y, d});
                });
}

void normalize_backward(const Tensor& dy, const Tensor& y, const Tensor& offsets, const Tensor& d,
                        Tensor& dx) {
  check_numel("normalize", y.numel(), dy, dx);
  check_numel("normalize", d.numel() + 1, offsets);
  with_pointers("normalize", {dy, y, d, dx},
                [=, o = checked_offsets("normalize", offsets, y.numel()),
                 tokens = d.numel()]<class T>(T* dy, T* y, T* d, T* dx) {
                  row_loop(tokens, 1, gate::NormalizeBackward<T>{dy, y, o, d, dx});
                });
}

}  // namespace switchyard::cpu
