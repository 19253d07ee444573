// The training criterion of specs/hmoe.md 2.10, of one rank:
//   loss = sum over non-pad targets of label-smoothed cross-entropy + n sum_w w_name combine(values of name)
// n = non-pad targets, combine = average or sum over the blocks that added a loss of that name;
// for budget losses | sum of values / max(sum of counts, 1e-5) - goal | over the blocks.
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

// The losses of one name, of all blocks, as one value [1], on the host.
inline Var combine_losses(const std::vector<NamedLoss>& losses, bool average, DType dtype) {
  Var total(Tensor::zeros({1}, dtype));
  for (const NamedLoss& l : losses) total = add(total, cast(move_to(l.value, Device::CPU), dtype));
  if (!losses[0].budget) return scale(total, average ? 1.0 / double(losses.size()) : 1.0);
  double count = 0;
  for (const NamedLoss& l : losses) count += l.budget->count;
  const Var goal(Tensor::full({1}, losses[0].budget->goal, dtype));
  const Var excess = add(scale(total, 1 / std::max(count, 1e-5)), scale(goal, -1));
  return scale(excess, value_of(excess.data()) < 0 ? -1 : 1);
}

inline LossParts criterion(const Var& logits, const Tensor& target, int64_t pad, double smoothing,
                           const std::vector<NamedLoss>& losses, bool average) {
  const CrossEntropy ce = cross_entropy(logits, target.reshape({target.numel()}), pad, smoothing);
  LossParts parts{ce.loss, value_of(ce.loss.data()), ce.nll, ce.rows, {}};
  std::map<std::string, std::vector<NamedLoss>> by_name;
  for (const NamedLoss& l : losses) by_name[l.name].push_back(l);
  // Joined even with n = 0 or weight 0: the gradient (zeros) must reach the block's collectives.
  for (const auto& [name, blocks] : by_name) {
    const Var value = combine_losses(blocks, average, ce.loss.data().dtype());
    parts.auxiliary[name] = double(ce.rows) * value_of(value.data());
    parts.loss = add(parts.loss, move_to(scale(value, blocks[0].weight * double(ce.rows)),
                                         ce.loss.data().device()));
  }
  return parts;
}

}  // namespace switchyard
