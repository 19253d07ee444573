// The training criterion of specs/hmoe.md 2.10, of one rank:
//   loss = sum over non-pad targets of label-smoothed cross-entropy + n sum_w w_name combine(values of name)
// n = non-pad targets, combine = average or sum over the blocks that added a loss of that name;
// for budget losses | sum of values / max(sum of counts, 1e-5) - goal | over the blocks.
#pragma once
#include "autograd/ops.h"
#include "nn/context.h"

namespace switchyard {

// The numbers are tensors [1] on the device of the logits.
struct LossParts {
  Var loss;              // what is differentiated
  Tensor cross_entropy;  // label-smoothed, without auxiliary losses; sums over targets, nats
  Tensor nll;
  int64_t tokens = 0;                       // n
  std::map<std::string, Tensor> auxiliary;  // name -> f64: n * combine(values), without its weight
};

// The losses of one name, of all blocks, as one value [1].
inline Var combine_losses(const std::vector<NamedLoss>& losses, bool average, DType dtype) {
  const Device device = losses[0].value.data().device();
  Var total(Tensor::zeros({1}, dtype, device));
  for (const NamedLoss& l : losses) total = add(total, cast(l.value, dtype));
  if (!losses[0].budget) return scale(total, average ? 1.0 / double(losses.size()) : 1.0);
  double count = 0;
  for (const NamedLoss& l : losses) count += l.budget->count;
  const Var goal(Tensor::full({1}, losses[0].budget->goal, dtype, device));
  return abs(add(scale(total, 1 / std::max(count, 1e-5)), scale(goal, -1)));
}

inline LossParts criterion(const Var& logits, const Tensor& target, int64_t pad, double smoothing,
                           const std::vector<NamedLoss>& losses, bool average) {
  const CrossEntropy ce = cross_entropy(logits, target.reshape({target.numel()}), pad, smoothing);
  LossParts parts{ce.loss, ce.loss.data(), ce.nll, ce.rows, {}};
  std::map<std::string, std::vector<NamedLoss>> by_name;
  for (const NamedLoss& l : losses) by_name[l.name].push_back(l);
  // Joined even with n = 0 or weight 0: the gradient (zeros) must reach the block's collectives.
  for (const auto& [name, blocks] : by_name) {
    const Var value = combine_losses(blocks, average, ce.loss.data().dtype());
    Tensor sum = value.data().to(DType::F64).clone();
    scale(double(ce.rows), sum, sum);
    parts.auxiliary[name] = sum;
    parts.loss = add(parts.loss, scale(value, blocks[0].weight * double(ce.rows)));
  }
  return parts;
}

}  // namespace switchyard
