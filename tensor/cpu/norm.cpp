// Layer norm: y = (x - mean) * rstd * w + b, rstd = 1 / sqrt(var + eps), along the last dimension.
#include "tensor/cpu/loops.h"

namespace switchyard::cpu {

void layer_norm_forward(const Tensor& x, const Tensor& w, const Tensor& b, double eps, Tensor& y,
                        Tensor& mean, Tensor& rstd) {
  const int64_t n = rows_of(x), c = columns_of(x);
  check_numel("layer_norm", c, w, b), check_numel("layer_norm", n, mean, rstd);
  check_numel("layer_norm", n * c, y);
  FLOAT_DISPATCH(x.dtype(), T, {
    const T *px = x.data<T>(), *pw = w.data<T>(), *pb = b.data<T>();
    T *py = y.data<T>(), *pmean = mean.data<T>(), *prstd = rstd.data<T>();
    each_row(n, c, [=](int64_t i) {
      const T* row = px + i * c;
      T* out = py + i * c;
      const T m = row_sum<T>(c, [=](int64_t j) { return row[j]; }) / T(c);
      const T var = row_sum<T>(c, [=](int64_t j) { return (row[j] - m) * (row[j] - m); }) / T(c);
      const T r = T(1) / std::sqrt(var + T(eps));
      vector_loop(0, c, [=](int64_t j) { out[j] = std::fma((row[j] - m) * r, pw[j], pb[j]); });
      pmean[i] = m, prstd[i] = r;
    });
  });
}

void layer_norm_backward(const Tensor& x, const Tensor& w, const Tensor& mean, const Tensor& rstd,
                         const Tensor& dy, Tensor& dx, Tensor& dw, Tensor& db) {
  const int64_t n = rows_of(x), c = columns_of(x);
  check_numel("layer_norm", c, w, dw, db), check_numel("layer_norm", n, mean, rstd);
  check_numel("layer_norm", n * c, dy, dx);
  FLOAT_DISPATCH(x.dtype(), T, {
    const T *px = x.data<T>(), *pw = w.data<T>(), *pdy = dy.data<T>();
    const T *pmean = mean.data<T>(), *prstd = rstd.data<T>();
    T *pdx = dx.data<T>(), *pdw = dw.data<T>(), *pdb = db.data<T>();
    column_ranges(n, c, [&](int64_t begin, int64_t end) {
      std::fill(pdw + begin, pdw + end, T(0));
      std::fill(pdb + begin, pdb + end, T(0));
      for (int64_t i = 0; i < n; ++i) {
        const T m = pmean[i], r = prstd[i];
        vector_loop(begin, end, [=](int64_t j) {
          pdb[j] += pdy[i * c + j];
          pdw[j] = std::fma(pdy[i * c + j], (px[i * c + j] - m) * r, pdw[j]);
        });
      }
    });
    // dx = (g - mean(g) - n * mean(g * n)) * rstd,  g = dy * w,  n = (x - mean) * rstd
    each_row(n, c, [=](int64_t i) {
      const T *row = px + i * c, *d = pdy + i * c;
      T* out = pdx + i * c;
      const T m = pmean[i], r = prstd[i];
      const T mean_g = row_sum<T>(c, [=](int64_t j) { return d[j] * pw[j]; }) / T(c);
      const T mean_gn =
          row_sum<T>(c, [=](int64_t j) { return d[j] * pw[j] * ((row[j] - m) * r); }) / T(c);
      vector_loop(0, c, [=](int64_t j) {
        out[j] = (d[j] * pw[j] - mean_g - (row[j] - m) * r * mean_gn) * r;
      });
    });
  });
}

}  // namespace switchyard::cpu
