#include "nn/loss.h"

#include "autograd/ops.h"

namespace switchyard {
LossParts criterion(const Var& logits, const Tensor& target, int64_t pad, double smoothing,
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
