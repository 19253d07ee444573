// The gates of a mixture of experts: loops over the formulas of gate.h. Both twins in one text: cpu/gate.cpp
// and cuda/gate.cu include it inside of their namespaces, which have each_index(n, c, f): f(i) for i < n, on
// one thread each, with work for about c elements.

void fill_columns(double value, const Tensor& column, Tensor& y) {
  const int64_t n = rows_of(y), c = columns_of(y), k = columns_of(column);
  check_numel("fill_columns", n * k, column);
  check_index("fill_columns", column, c, 0);
  const Tensor at = on_device(column);
  FLOAT_DISPATCH(y.dtype(), T, {
    each_index(n, k, gate::FillColumns<T>{T(value), at.data<int64_t>(), y.data<T>(), c, k});
  });
}

namespace {
// F<T> on every row of `wide` [n, c], which is x or y, and the columns chosen of it: the other is [n, k]
template <template <class> class F>
void at_columns(const char* kernel, const Tensor& wide, const Tensor& x, const Tensor& column,
                Tensor& y) {
  const int64_t n = rows_of(wide), c = columns_of(wide), k = columns_of(column);
  check_numel(kernel, n * k, column, &wide == &x ? y : x);
  check_index(kernel, column, c, 0);
  const Tensor at = on_device(column);
  FLOAT_DISPATCH(x.dtype(), T, {
    each_index(n, k, F<T>{pointer<T>(x), at.data<int64_t>(), pointer<T>(y), c, k});
  });
}
}  // namespace

void gather_columns(const Tensor& x, const Tensor& column, Tensor& y) {
  at_columns<gate::GatherColumns>("gather_columns", x, x, column, y);
}
void scatter_add_columns(const Tensor& x, const Tensor& column, Tensor& y) {
  at_columns<gate::ScatterAddColumns>("scatter_add_columns", y, x, column, y);
}

void row_entropy(const Tensor& p, Tensor& y) {
  each_row("row_entropy", gate::RowEntropy(), p, one(y));
}

void normalize_forward(const Tensor& x, const Tensor& offsets, Tensor& y, Tensor& d) {
  check_numel("normalize", x.numel(), y);
  check_numel("normalize", d.numel() + 1, offsets);
  if (offsets.device() == Device::CPU) checked_offsets("normalize", offsets, y.numel());
  const Tensor o = on_device(offsets);
  FLOAT_DISPATCH(x.dtype(), T, {
    each_index(d.numel(), 4,
               gate::Normalize<T>{pointer<T>(x), o.data<int64_t>(), pointer<T>(y), pointer<T>(d)});
  });
}

void normalize_backward(const Tensor& dy, const Tensor& y, const Tensor& offsets, const Tensor& d,
                        Tensor& dx) {
  check_numel("normalize", y.numel(), dy, dx);
  check_numel("normalize", d.numel() + 1, offsets);
  if (offsets.device() == Device::CPU) checked_offsets("normalize", offsets, y.numel());
  const Tensor o = on_device(offsets);
  FLOAT_DISPATCH(y.dtype(), T, {
    each_index(d.numel(), 4,
               gate::NormalizeBackward<T>{pointer<T>(dy), pointer<T>(y), o.data<int64_t>(),
                                          pointer<T>(d), pointer<T>(dx)});
  });
}
