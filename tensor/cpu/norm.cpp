// Layer norm: y = (x - mean) * rstd * w + b, rstd = 1 / sqrt(var + eps), along the last dimension.
#include "tensor/cpu/loops.h"

namespace switchyard::cpu {

void layer_norm_forward(const Tensor& x, const Tensor& w, const Tensor& b, double eps, Tensor& y,
                        Tensor& mean, Tensor& rstd) {
  check_numel("layer_norm", columns_of(x), w, b);
  each_row("layer_norm", {x, whole(w), whole(b), y, one(mean), one(rstd)},
           [=]<class T>(int64_t, int64_t c, T* x, T* w, T* b, T* y, T* mean, T* rstd) {
             const T m = row_sum(c, [=](int64_t j) { return x[j]; }) / T(c);
             const T var = row_sum(c, [=](int64_t j) { return (x[j] - m) * (x[j] - m); }) / T(c);
             const T r = T(1) / std::sqrt(var + T(eps));
             vector_loop(0, c, [=](int64_t j) { y[j] = std::fma((x[j] - m) * r, w[j], b[j]); });
             *mean = m, *rstd = r;
           });
}

void layer_norm_backward(const Tensor& x, const Tensor& w, const Tensor& mean, const Tensor& rstd,
                         const Tensor& dy, Tensor& dx, Tensor& dw, Tensor& db) {
  const int64_t n = rows_of(x), c = columns_of(x);
  check_numel("layer_norm", c, w, dw, db);
  fill(0.0, dw), fill(0.0, db);
  with_pointers("layer_norm", {x, mean, rstd, dy, dw, db},
                [=](auto* x, auto* mean, auto* rstd, auto* dy, auto* dw, auto* db) {
                  column_ranges(n, c, [=](int64_t begin, int64_t end) {
                    for (int64_t i = 0; i < n; ++i)
                      vector_loop(begin, end, [=, m = mean[i], r = rstd[i]](int64_t j) {
                        db[j] += dy[i * c + j];
                        dw[j] = std::fma(dy[i * c + j], (x[i * c + j] - m) * r, dw[j]);
                      });
                  });
                });
  // dx = (g - mean(g) - n * mean(g * n)) * rstd,  g = dy * w,  n = (x - mean) * rstd
  each_row("layer_norm", {x, whole(w), one(mean), one(rstd), dy, dx},
           []<class T>(int64_t, int64_t c, T* x, T* w, T* mean, T* rstd, T* dy, T* dx) {
             const auto normal = [=, m = *mean, r = *rstd](int64_t j) { return (x[j] - m) * r; };
             const T mean_g = row_sum(c, [=](int64_t j) { return dy[j] * w[j]; }) / T(c);
             const T mean_gn =
                 row_sum(c, [=](int64_t j) { return dy[j] * w[j] * normal(j); }) / T(c);
             vector_loop(0, c, [=, r = *rstd](int64_t j) {
               dx[j] = (dy[j] * w[j] - mean_g - normal(j) * mean_gn) * r;
             });
           });
}

}  // namespace switchyard::cpu
