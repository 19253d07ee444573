// Softmax along the last dimension, and label-smoothed cross-entropy from logits, one row at a time:
// loss = (1 - s) nll + s (lse - mean(x)),  nll = lse - x[target],  lse = log sum e^x
#include "tensor/cpu/loops.h"

namespace switchyard::cpu {

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
             check(t[i] >= 0 && t[i] < c, "cross_entropy: target out of range");
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
