// Layer norm, softmax and cross-entropy: loops over the formulas of rows.h.
#include "tensor/cuda/segment_sums.h"

namespace switchyard::cuda {
namespace {

// Row i adds to dw = sum of dy * (x - mean) * rstd and to db = sum of dy.
template <class T>
struct NormGradient {
  const T *x, *mean, *rstd, *dy;
  int64_t c;
  __device__ void operator()(int64_t i, int64_t j, Pack<T, 2>& sum) const {
    const T g = dy[i * c + j];
    sum.at[0] = std::fma(g, (x[i * c + j] - mean[i]) * rstd[i], sum.at[0]);
    sum.at[1] += g;
  }
};
template <class T>
struct WriteNormGradient {
  T *dw, *db;
  __device__ Pack<T, 2> start(int64_t, int64_t) const { return {}; }
  __device__ void finish(int64_t, int64_t j, const Pack<T, 2>& sum) const {
    dw[j] = sum.at[0], db[j] = sum.at[1];
  }
};

}  // namespace

void layer_norm_forward(const Tensor& x, const Tensor& w, const Tensor& b, double eps, Tensor& y,
                        Tensor& mean, Tensor& rstd) {
  check_numel("layer_norm", columns_of(x), w, b);
  each_row("layer_norm", {x, whole(w), whole(b), y, one(mean), one(rstd)}, rows::LayerNorm{eps});
}

void layer_norm_backward(const Tensor& x, const Tensor& w, const Tensor& mean, const Tensor& rstd,
                         const Tensor& dy, Tensor& dx, Tensor& dw, Tensor& db) {
  const int64_t n = rows_of(x), c = columns_of(x);
  check_numel("layer_norm", c, w, dw, db);
  check_numel("layer_norm", n, mean, rstd);
  check_numel("layer_norm", n * c, dy);
  with_pointers("layer_norm", {x, mean, rstd, dy, dw, db},
                [=]<class T>(T* x, T* mean, T* rstd, T* dy, T* dw, T* db) {
                  sum_segments<Pack<T, 2>>({0, n}, c, NormGradient<T>{x, mean, rstd, dy, c},
                                           WriteNormGradient<T>{dw, db});
                });
  each_row("layer_norm", {x, whole(w), one(mean), one(rstd), dy, dx}, rows::LayerNormBackward());
}

void softmax_forward(const Tensor& x, Tensor& y) { each_row("softmax", {x, y}, rows::Softmax()); }
void softmax_backward(const Tensor& y, const Tensor& dy, Tensor& dx) {
  each_row("softmax", {y, dy, dx}, rows::SoftmaxBackward());
}
void log_softmax_forward(const Tensor& x, Tensor& y) {
  each_row("log_softmax", {x, y}, rows::LogSoftmax());
}

void cross_entropy_forward(const Tensor& logits, const Tensor& target, int64_t ignore,
                           double smoothing, Tensor& loss, Tensor& nll, Tensor& lse) {
  check_numel("cross_entropy", rows_of(logits), target);
  check_index("cross_entropy", target, columns_of(logits), ignore);
  const Tensor t = on_device(target);
  each_row("cross_entropy", {logits, one(loss), one(nll), one(lse)},
           rows::CrossEntropy{t.data<int64_t>(), ignore, smoothing});
}
void cross_entropy_backward(const Tensor& logits, const Tensor& target, int64_t ignore,
                            double smoothing, const Tensor& lse, const Tensor& dloss,
                            Tensor& dlogits) {
  check_numel("cross_entropy", rows_of(logits), target);
  check_index("cross_entropy", target, columns_of(logits), ignore);
  const Tensor t = on_device(target);
  each_row("cross_entropy", {logits, one(lse), one(dloss), dlogits},
           rows::CrossEntropyBackward{t.data<int64_t>(), ignore, smoothing});
}

}  // namespace switchyard::cuda
