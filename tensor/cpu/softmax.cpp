// Softmax along the last dimension: y = exp(x - max) / sum; the row functions are in loops.h.
#include "tensor/cpu/loops.h"

namespace switchyard::cpu {

void softmax_forward(const Tensor& x, Tensor& y) {
  const int64_t n = rows_of(x), c = columns_of(x);
  check_numel("softmax", n * c, y);
  FLOAT_DISPATCH(x.dtype(), T, {
    each_row(n, c, [=, px = x.data<T>(), py = y.data<T>()](int64_t i) {
      softmax_row(px + i * c, py + i * c, c);
    });
  });
}

void softmax_backward(const Tensor& y, const Tensor& dy, Tensor& dx) {
  const int64_t n = rows_of(y), c = columns_of(y);
  check_numel("softmax", n * c, dy, dx);
  FLOAT_DISPATCH(y.dtype(), T, {
    each_row(n, c, [=, py = y.data<T>(), pdy = dy.data<T>(), pdx = dx.data<T>()](int64_t i) {
      softmax_row_backward(py + i * c, pdy + i * c, pdx + i * c, c);
    });
  });
}

void log_softmax_forward(const Tensor& x, Tensor& y) {
  const int64_t n = rows_of(x), c = columns_of(x);
  check_numel("log_softmax", n * c, y);
  FLOAT_DISPATCH(x.dtype(), T, {
    each_row(n, c, [=, px = x.data<T>(), py = y.data<T>()](int64_t i) {
      const T lse = log_sum_exp(px + i * c, c);
      vector_loop(i * c, (i + 1) * c, [=](int64_t j) { py[j] = px[j] - lse; });
    });
  });
}

}  // namespace switchyard::cpu
