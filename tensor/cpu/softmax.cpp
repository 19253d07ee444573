// Layer norm, softmax and cross-entropy: loops over the formulas of rows.h.
#include "tensor/cpu/loops.h"

namespace switchyard::cpu {

void layer_norm_forward(const Tensor& x, const Tensor& w, const Tensor& b, double eps, Tensor& y,
                        Tensor& mean, Tensor& rstd) {
  check_numel("layer_norm", columns_of(x), w, b);
  each_row("layer_norm", {x, whole(w), whole(b), y, one(mean), one(rstd)}, rows::LayerNorm{eps});
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
  each_row("cross_entropy", {logits, one(loss), one(nll), one(lse)},
           rows::CrossEntropy{target.data<int64_t>(), ignore, smoothing});
}
void cross_entropy_backward(const Tensor& logits, const Tensor& target, int64_t ignore,
                            double smoothing, const Tensor& lse, const Tensor& dloss,
                            Tensor& dlogits) {
  check_numel("cross_entropy", rows_of(logits), target);
  check_index("cross_entropy", target, columns_of(logits), ignore);
  each_row("cross_entropy", {logits, one(lse), one(dloss), dlogits},
           rows::CrossEntropyBackward{target.data<int64_t>(), ignore, smoothing});
}

}  // namespace switchyard::cpu
