// Layer norm, softmax and cross-entropy: loops over the formulas of rows.h. Both twins in one text:
// cpu/softmax.cpp and cuda/softmax.cu include it inside of their namespaces, which have the sums over rows.

void layer_norm_forward(const Tensor& x, const Tensor& w, const Tensor& b, double eps, Tensor& y,
                        Tensor& mean, Tensor& rstd) {
  check_numel("layer_norm", columns_of(x), w, b);
  each_row("layer_norm", rows::LayerNorm{eps}, x, whole(w), whole(b), y, one(mean), one(rstd));
}

void layer_norm_backward(const Tensor& x, const Tensor& w, const Tensor& mean, const Tensor& rstd,
                         const Tensor& dy, Tensor& dx, Tensor& dw, Tensor& db) {
  check_numel("layer_norm", columns_of(x), w, dw, db);
  check_numel("layer_norm", rows_of(x), mean, rstd);
  check_numel("layer_norm", x.numel(), dy);
  norm_weight_gradients(x, mean, rstd, dy, dw, db);
  each_row("layer_norm", rows::LayerNormBackward(), x, whole(w), one(mean), one(rstd), dy, dx);
}

void softmax_forward(const Tensor& x, Tensor& y) { each_row("softmax", rows::Softmax(), x, y); }
void softmax_backward(const Tensor& y, const Tensor& dy, Tensor& dx) {
  each_row("softmax", rows::SoftmaxBackward(), y, dy, dx);
}
void log_softmax_forward(const Tensor& x, Tensor& y) {
  each_row("log_softmax", rows::LogSoftmax(), x, y);
}

void cross_entropy_forward(const Tensor& logits, const Tensor& target, int64_t ignore,
                           double smoothing, Tensor& loss, Tensor& nll, Tensor& lse) {
  check_numel("cross_entropy", rows_of(logits), target);
  check_index("cross_entropy", target, columns_of(logits), ignore);
  const Tensor t = on_device(target);
  each_row("cross_entropy", rows::CrossEntropy{t.data<int64_t>(), ignore, smoothing}, logits,
           one(loss), one(nll), one(lse));
}
void cross_entropy_backward(const Tensor& logits, const Tensor& target, int64_t ignore,
                            double smoothing, const Tensor& lse, const Tensor& dloss,
                            Tensor& dlogits) {
  check_numel("cross_entropy", rows_of(logits), target);
  check_index("cross_entropy", target, columns_of(logits), ignore);
  const Tensor t = on_device(target);
  each_row("cross_entropy", rows::CrossEntropyBackward{t.data<int64_t>(), ignore, smoothing},
           logits, one(lse), one(dloss), dlogits);
}
