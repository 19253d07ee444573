// Along the last dimension, one row at a time: layer norm y = (x - mean) * rstd * w + b with
// rstd = 1 / sqrt(var + eps), softmax, and label-smoothed cross-entropy from logits:
// loss = (1 - s) nll + s (lse - mean(x)),  nll = lse - x[target],  lse = log sum e^x
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

void softmax_forward(const Tensor& x, Tensor& y) {
  each_row("softmax", {x, y}, [](int64_t, int64_t c, auto* x, auto* y) { softmax_row(x, y, c); });
}

void softmax_backward(const Tensor& y, const Tensor& dy, Tensor& dx) {
  each_row("softmax", {y, dy, dx}, [](int64_t, int64_t c, auto* y, auto* dy, auto* dx) {
    softmax_row_backward(y, dy, dx, c);
  });
}

void log_softmax_forward(const Tensor& x, Tensor& y) {
  each_row("log_softmax", {x, y}, [](int64_t, int64_t c, auto* x, auto* y) {
    vector_loop(0, c, [=, lse = log_sum_exp(x, c)](int64_t j) { y[j] = x[j] - lse; });
  });
}

void cross_entropy_forward(const Tensor& logits, const Tensor& target, int64_t ignore,
                           double smoothing, Tensor& loss, Tensor& nll, Tensor& lse) {
  check_numel("cross_entropy", rows_of(logits), target);
  const int64_t* t = target.data<int64_t>();
  each_row("cross_entropy", {logits, one(loss), one(nll), one(lse)},
           [=]<class T>(int64_t i, int64_t c, T* x, T* loss, T* nll, T* lse) {
             *loss = *nll = *lse = 0;
             if (t[i] == ignore) return;
             check(t[i] >= 0 && t[i] < c, "cross_entropy: target out of range");
             *lse = log_sum_exp(x, c);
             *loss = *nll = *lse - x[t[i]];
             if (smoothing == 0) return;
             const T mean = row_sum(c, [=](int64_t j) { return x[j]; }) / T(c), s = T(smoothing);
             *loss = (T(1) - s) * *nll + s * (*lse - mean);
           });
}

void cross_entropy_backward(const Tensor& logits, const Tensor& target, int64_t ignore,
                            double smoothing, const Tensor& lse, const Tensor& dloss,
                            Tensor& dlogits) {
  check_numel("cross_entropy", rows_of(logits), target);
  const int64_t* t = target.data<int64_t>();
  each_row("cross_entropy", {logits, one(lse), one(dloss), dlogits},
           [=]<class T>(int64_t i, int64_t c, T* x, T* lse, T* dloss, T* dx) {
             if (t[i] == ignore) return void(std::fill(dx, dx + c, T(0)));
             const T shift = *lse, g = *dloss, uniform = T(smoothing / double(c));
             const T peak = T(1 - smoothing);
             // before the loop: dlogits may be logits
             const T at_target = (vmath::exp(x[t[i]] - shift) - peak - uniform) * g;
             vector_loop(0, c,
                         [=](int64_t j) { dx[j] = (vmath::exp(x[j] - shift) - uniform) * g; });
             dx[t[i]] = at_target;
           });
}

}  // namespace switchyard::cpu
