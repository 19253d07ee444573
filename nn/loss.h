// The training criterion of specs/hmoe.md 2.10, of one rank:
//   loss = sum over non-pad targets of label-smoothed cross-entropy + n sum_w w_name combine(values of name)
// n = non-pad targets, combine = average or sum over the blocks that added a loss of that name;
// for budget losses | sum of values / max(sum of counts, 1e-5) - goal | over the blocks.
#pragma once
#include <map>

#include "nn/context.h"

namespace switchyard {

struct LossParts {
  Var loss;                  // [1]: what is differentiated
  double cross_entropy = 0;  // label-smoothed, without auxiliary losses; sums over targets, nats
  double nll = 0;
  int64_t tokens = 0;                       // n
  std::map<std::string, double> auxiliary;  // name -> n * combine(values), without its weight
};

// The losses of one name, of all blocks, as one value [1].
Var combine_losses(const std::vector<NamedLoss>& losses, bool average, DType dtype);

LossParts criterion(const Var& logits, const Tensor& target, int64_t pad, double smoothing,
                    const std::vector<NamedLoss>& losses, bool average);

}  // namespace switchyard
