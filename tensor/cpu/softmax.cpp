#include "tensor/cpu/loops.h"

namespace switchyard::cpu {
namespace {

// dw = sum of dy * (x - mean) * rstd, db = sum of dy, over the rows
void norm_weight_gradients(const Tensor& x, const Tensor& mean, const Tensor& rstd,
                           const Tensor& dy, Tensor& dw, Tensor& db) {
  fill(0.0, dw), fill(0.0, db);
  FLOAT_DISPATCH(x.dtype(), T, {
    column_ranges(rows_of(x), columns_of(x),
                  [=, n = rows_of(x), c = columns_of(x), x = x.data<T>(), mean = mean.data<T>(),
                   rstd = rstd.data<T>(), dy = dy.data<T>(), dw = dw.data<T>(),
                   db = db.data<T>()](int64_t begin, int64_t end) {
                    for (int64_t i = 0; i < n; ++i)
                      vector_loop(begin, end, [=, m = mean[i], r = rstd[i]](int64_t j) {
                        db[j] += dy[i * c + j];
                        dw[j] = std::fma(dy[i * c + j], (x[i * c + j] - m) * r, dw[j]);
                      });
                  });
  });
}

}  // namespace

#include "tensor/twins/softmax.h"

}  // namespace switchyard::cpu
