// twins/softmax.h on the CPU, and the sums over rows of layer norm.
#include "tensor/cpu/loops.h"

namespace switchyard::cpu {
namespace {

// dw = sum of dy * (x - mean) * rstd, db = sum of dy, over the rows
void norm_weight_gradients(const Tensor& x, const Tensor& mean, const Tensor& rstd,
                           const Tensor& dy, Tensor& dw, Tensor& db) {
  fill(0.0, dw), fill(0.0, db);
  ELEMENT_DISPATCH(x.dtype(), T, {
    column_ranges(
        rows_of(x), columns_of(x),
        [=, n = rows_of(x), c = columns_of(x), x = x.data<T>(), mean = mean.data<Compute<T>>(),
         rstd = rstd.data<Compute<T>>(), dy = dy.data<T>(), dw = dw.data<Compute<T>>(),
         db = db.data<Compute<T>>()](int64_t begin, int64_t end) {
          for (int64_t i = 0; i < n; ++i)
            vector_loop(begin, end, [=, m = mean[i], r = rstd[i]](int64_t j) {
              const Compute<T> g = dy[i * c + j];
              db[j] += g;
              dw[j] = std::fma(g, (x[i * c + j] - m) * r, dw[j]);
            });
        });
  });
}

}  // namespace

#include "tensor/twins/softmax.h"

}  // namespace switchyard::cpu
