// Softmax along the last dimension: y = exp(x - max) / sum; the row functions are in loops.h.
#include "tensor/cpu/loops.h"

namespace switchyard::cpu {

void softmax_forward(const Tensor& x, Tensor& y) {
  const int64_t n = rows_of(x), c = columns_of(x);
  check_same(x, y, "softmax");
  FLOAT_DISPATCH(x.dtype(), T, {
    const T* px = x.data<T>();
    T* py = y.data<T>();
    each_row(n, c, [=](int64_t i) { softmax_row(px + i * c, py + i * c, c); });
  });
}

void softmax_backward(const Tensor& y, const Tensor& dy, Tensor& dx) {
  const int64_t n = rows_of(y), c = columns_of(y);
  check_same(y, dy, "softmax"), check_same(y, dx, "softmax");
  FLOAT_DISPATCH(y.dtype(), T, {
    const T *py = y.data<T>(), *pdy = dy.data<T>();
    T* pdx = dx.data<T>();
    each_row(n, c,
             [=](int64_t i) { softmax_row_backward(py + i * c, pdy + i * c, pdx + i * c, c); });
  });
}

void log_softmax_forward(const Tensor& x, Tensor& y) {
  const int64_t n = rows_of(x), c = columns_of(x);
  check_same(x, y, "log_softmax");
  FLOAT_DISPATCH(x.dtype(), T, {
    const T* px = x.data<T>();
    T* py = y.data<T>();
    each_row(n, c, [=](int64_t i) {
      const T* row = px + i * c;
      T* out = py + i * c;
      const T lse = log_sum_exp(row, c);
      vector_loop(0, c, [=](int64_t j) { out[j] = row[j] - lse; });
    });
  });
}

}  // namespace switchyard::cpu
