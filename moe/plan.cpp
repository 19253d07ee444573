#include "moe/plan.h"

#include <cmath>
#include <numeric>

namespace switchyard::moe {

int64_t capacity_of(const CapacityRule& rule, bool training, int64_t rows, int64_t visible,
                    int64_t batch) {
  if (!training && rule.eval_fraction > 0) {
    const int64_t of = rule.eval_positions > 0 ? rule.eval_positions * batch : rows;
    return int64_t(std::ceil(rule.eval_fraction * double(of)));
  }
  return int64_t(rule.factor * double((rows + visible - 1) / visible));
}

DispatchPlan make_plan(const Routing& routing, int64_t num_experts, int64_t capacity) {
  DispatchPlan plan;
  plan.capacity = capacity;
  plan.slot.assign(routing.choices(), -1);
  plan.kept.assign(num_experts, 0);
  std::vector<int64_t> asked(num_experts, 0);
  for (int64_t j = 0; j < routing.choices(); ++j) {
    const int64_t i = ints(routing.order)[j], e = ints(routing.expert)[i];
    if (e < 0) continue;
    if (asked[e] < capacity) plan.slot[i] = asked[e];
    ++asked[e];
  }
  return plan;
}

void pack_rows(DispatchPlan& plan, const Routing& routing) {
  const int64_t n = routing.choices(), *offsets = ints(routing.offsets);
  const int64_t *expert = ints(routing.expert), *order = ints(routing.order);
  for (int64_t i = 0; i < n; ++i)
    if (plan.slot[i] >= 0) ++plan.kept[expert[i]];
  std::vector<int64_t> next(plan.kept.size());
  std::exclusive_scan(plan.kept.begin(), plan.kept.end(), next.begin(), int64_t(0));
  const int64_t rows = std::accumulate(plan.kept.begin(), plan.kept.end(), int64_t(0));
  plan.position = Tensor::full({n}, -1, DType::I64);
  plan.token = Tensor::empty({rows}, DType::I64);
  plan.choice = Tensor::empty({rows}, DType::I64);
  for (int64_t j = 0; j < n; ++j)  // serving order makes the slots of an expert ascend
    if (plan.slot[order[j]] >= 0) ints(plan.position)[order[j]] = next[expert[order[j]]]++;
  for (int64_t s = 0; s < routing.rows(); ++s)
    for (int64_t i = offsets[s]; i < offsets[s + 1]; ++i) {
      const int64_t row = ints(plan.position)[i];
      if (row < 0) continue;
      ints(plan.token)[row] = s;
      ints(plan.choice)[row] = i - offsets[s];
    }
}

}  // namespace switchyard::moe
