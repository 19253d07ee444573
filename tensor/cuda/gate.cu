// The gates of a mixture of experts: loops over the formulas of gate.h.
#include "tensor/gate.h"

#include "tensor/cuda/loops.h"

namespace switchyard::cuda {
namespace {

// f(i) for i < n, on one thread each
template <class F>
struct Single {
  F f;
  __device__ void operator()(int64_t i, int64_t) const { f(i); }
};
template <class F>
void each_index(int64_t n, const F& f) {
  each_cell(n, 1, Single<F>{f});
}

}  // namespace

void fill_columns(double value, const Tensor& column, Tensor& y) {
  const int64_t n = rows_of(y), c = columns_of(y), k = columns_of(column);
  check_numel("fill_columns", n * k, column);
  check_index("fill_columns", column, c, 0);
  const Tensor at = on_device(column);
  FLOAT_DISPATCH(y.dtype(), T, {
    each_index(n, gate::FillColumns<T>{T(value), at.data<int64_t>(), y.data<T>(), c, k});
  });
}

void gather_columns(const Tensor& x, const Tensor& column, Tensor& y) {
  const int64_t n = rows_of(x), c = columns_of(x), k = columns_of(column);
  check_numel("gather_columns", n * k, column, y);
  check_index("gather_columns", column, c, 0);
  const Tensor at = on_device(column);
  with_pointers("gather_columns", {x, y}, [&]<class T>(T* x, T* y) {
    each_index(n, gate::GatherColumns<T>{x, at.data<int64_t>(), y, c, k});
  });
}

void scatter_add_columns(const Tensor& x, const Tensor& column, Tensor& y) {
  const int64_t n = rows_of(y), c = columns_of(y), k = columns_of(column);
  check_numel("scatter_add_columns", n * k, column, x);
  check_index("scatter_add_columns", column, c, 0);
  const Tensor at = on_device(column);
  with_pointers("scatter_add_columns", {x, y}, [&]<class T>(T* x, T* y) {
    each_index(n, gate::ScatterAddColumns<T>{x, at.data<int64_t>(), y, c, k});
  });
}

void row_entropy(const Tensor& p, Tensor& y) {
  each_row("row_entropy", {p, one(y)}, gate::RowEntropy());
}

void normalize_forward(const Tensor& x, const Tensor& offsets, Tensor& y, Tensor& d) {
  check_numel("normalize", x.numel(), y);
  check_numel("normalize", d.numel() + 1, offsets);
  const Tensor o = on_device(offsets);
  with_pointers("normalize", {x, y, d}, [&]<class T>(T* x, T* y, T* d_) {
    each_index(d.numel(), gate::Normalize<T>{x, o.data<int64_t>(), y, d_});
  });
}

void normalize_backward(const Tensor& dy, const Tensor& y, const Tensor& offsets, const Tensor& d,
                        Tensor& dx) {
  check_numel("normalize", y.numel(), dy, dx);
  check_numel("normalize", d.numel() + 1, offsets);
  const Tensor o = on_device(offsets);
  with_pointers("normalize", {dy, y, d, dx}, [&]<class T>(T* dy, T* y, T* d_, T* dx) {
    each_index(d.numel(), gate::NormalizeBackward<T>{dy, y, o.data<int64_t>(), d_, dx});
  });
}

}  // namespace switchyard::cuda
