#include "moe/balance.h"

#include "autograd/ops.h"

namespace switchyard::moe {

Var balance_loss(const Routed& routed, int64_t rows) {
  const Routing& r = routed.routing;
  const int64_t S = r.rows(), visible = routed.probs.dim(1);
  const DType dtype = routed.probs.data().dtype();
  std::vector<double> f(visible, 0);
  double sum_f = 0;
  for (int64_t s = 0; s < S; ++s) {
    const int64_t e = ints(r.expert)[ints(r.offsets)[s]];
    if (e < 0) continue;
    f[e - routed.first_expert] += 1.0 / double(rows);
    sum_f += 1.0 / double(rows);
  }
  // sum_e f_e P_e = <mean over the S rows of p, f> S / rows + (filler rows) / (rows n_e) sum_e f_e
  const Tensor weight = Tensor::of(f).to(dtype);
  const Var real = scale(dot(mean_rows(routed.probs), weight), double(visible * S) / double(rows));
  return add(real, Var(Tensor::full({1}, sum_f * double(rows - S) / double(rows), dtype)));
}

}  // namespace switchyard::moe
