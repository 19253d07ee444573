// Label-smoothed cross-entropy from logits, one row at a time:
// loss = (1 - s) nll + s (lse - mean(x)),  nll = lse - x[target],  lse = log sum e^x
#include "tensor/cpu/loops.h"

namespace switchyard::cpu {
namespace {

void check_targets(const Tensor& target, int64_t ignore, int64_t n, int64_t vocabulary) {
  check_numel("cross_entropy", n, target);
  const int64_t* t = target.data<int64_t>();
  for (int64_t i = 0; i < n; ++i)
    check(t[i] == ignore || (t[i] >= 0 && t[i] < vocabulary), "cross_entropy: target out of range");
}

}  // namespace

void cross_entropy_forward(const Tensor& logits, const Tensor& target, int64_t ignore,
                           double smoothing, Tensor& loss, Tensor& nll, Tensor& lse) {
  const int64_t n = rows_of(logits), c = columns_of(logits);
  check_targets(target, ignore, n, c);
  check_numel("cross_entropy", n, loss, nll, lse);
  const int64_t* pt = target.data<int64_t>();
  FLOAT_DISPATCH(logits.dtype(), T, {
    const T* px = logits.data<T>();
    T *ploss = loss.data<T>(), *pnll = nll.data<T>(), *plse = lse.data<T>();
    const T s = T(smoothing);
    each_row(n, c, [=](int64_t i) {
      ploss[i] = pnll[i] = plse[i] = 0;
      if (pt[i] == ignore) return;
      const T* row = px + i * c;
      plse[i] = log_sum_exp(row, c);
      pnll[i] = ploss[i] = plse[i] - row[pt[i]];
      if (s > 0) {
        const T mean = row_sum<T>(c, [=](int64_t j) { return row[j]; }) / T(c);
        ploss[i] = (T(1) - s) * pnll[i] + s * (plse[i] - mean);
      }
    });
  });
}

void cross_entropy_backward(const Tensor& logits, const Tensor& target, int64_t ignore,
                            double smoothing, const Tensor& lse, const Tensor& dloss,
                            Tensor& dlogits) {
  const int64_t n = rows_of(logits), c = columns_of(logits);
  check_targets(target, ignore, n, c);
  check_numel("cross_entropy", n, lse, dloss), check_numel("cross_entropy", n * c, dlogits);
  const int64_t* pt = target.data<int64_t>();
  FLOAT_DISPATCH(logits.dtype(), T, {
    const T *px = logits.data<T>(), *plse = lse.data<T>(), *pdloss = dloss.data<T>();
    T* pdx = dlogits.data<T>();
    const T uniform = T(smoothing / double(c)), peak = T(1 - smoothing);
    each_row(n, c, [=](int64_t i) {
      const T* row = px + i * c;
      T* d = pdx + i * c;
      if (pt[i] == ignore) return void(std::fill(d, d + c, T(0)));
      const T shift = plse[i], g = pdloss[i];
      const T at_target =
          (vmath::exp(row[pt[i]] - shift) - peak - uniform) * g;  // dlogits may be logits
      vector_loop(0, c, [=](int64_t j) { d[j] = (vmath::exp(row[j] - shift) - uniform) * g; });
      d[pt[i]] = at_target;
    });
  });
}

}  // namespace switchyard::cpu
