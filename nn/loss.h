// The training criterion of specs/hmoe.md 2.10, of one rank:
//   loss = sum over non-pad targets of label-smoothed cross-entropy + n sum_w w_name combine(values of name)
// n = non-pad targets, combine = average or sum over the blocks that added a loss of that name.
#pragma once
#include "autograd/ops.h"
#include "nn/context.h"

namespace switchyard {

struct LossParts {
  Var loss;                  // [1]: what is differentiated
  double cross_entropy = 0;  // label-smoothed, without auxiliary losses; sums over targets, nats
  double nll = 0;
  int64_t tokens = 0;                       // n
  std::map<std::string, double> auxiliary;  // name -> n * combine(values), without its weight
};

inline LossParts criterion(const Var& logits, const Tensor& target, int64_t pad, double smoothing,
                           const std::vector<NamedLoss>& losses, bool average) {
  const CrossEntropy ce = cross_entropy(logits, target.reshape({target.numel()}), pad, smoothing);
  LossParts parts{ce.loss, value_of(ce.loss.data()), ce.nll, ce.rows, {}};
  std::map<std::string, int> blocks;
  for (const NamedLoss& l : losses) ++blocks[l.name];
  // Joined even with n = 0 or weight 0: the gradient (zeros) must reach the block's collectives.
  for (const NamedLoss& l : losses) {
    const double factor = double(ce.rows) / (average ? blocks[l.name] : 1);
    parts.auxiliary[l.name] += factor * value_of(l.value.data());
    parts.loss = add(parts.loss, scale(cast(l.value, ce.loss.data().dtype()), l.weight * factor));
  }
  return parts;
}

}  // namespace switchyard
