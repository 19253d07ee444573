#include "nn/loss.h"

#include <algorithm>

#include "autograd/ops.h"

namespace switchyard {

Var combine_losses(const std::vector<NamedLoss>& losses, bool average, DType dtype) {
  Var total(Tensor::zeros({1}, dtype));
  for (const NamedLoss& l : losses) total = add(total, cast(l.value, dtype));
  if (!losses[0].budget) return scale(total, average ? 1.0 / double(losses.size()) : 1.0);
  double count = 0;
  for (const NamedLoss& l : losses) count += l.budget->count;
  const double goal = losses[0].budget->goal;
  const Var excess = add(scale(total, 1 / std::max(count, 1e-5)),
                         Var(Tensor::full({1}, -goal, dtype)));  // mean - goal
  return scale(excess, value_of(excess.data()) < 0 ? -1 : 1);
}

LossParts criterion(const Var& logits, const Tensor& target, int64_t pad, double smoothing,
                    const std::vector<NamedLoss>& losses, bool average) {
  const CrossEntropy ce = cross_entropy(logits, target.reshape({target.numel()}), pad, smoothing);
  LossParts parts{ce.loss, value_of(ce.loss.data()), ce.nll, ce.rows, {}};
  std::map<std::string, std::vector<NamedLoss>> by_name;
  for (const NamedLoss& l : losses) by_name[l.name].push_back(l);
  // Joined even with n = 0 or weight 0: the gradient (zeros) must reach the block's collectives.
  for (const auto& [name, blocks] : by_name) {
    const Var value = combine_losses(blocks, average, ce.loss.data().dtype());
    parts.auxiliary[name] = double(ce.rows) * value_of(value.data());
    parts.loss = add(parts.loss, scale(value, blocks[0].weight * double(ce.rows)));
  }
  return parts;
}

}  // namespace switchyard
