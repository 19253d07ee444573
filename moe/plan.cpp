#include "moe/plan.h"

#include <cmath>

namespace switchyard::moe {

int64_t capacity_of(const CapacityRule& rule, bool training, int64_t rows, int64_t visible,
                    int64_t batch) {
  if (!training && rule.eval_fraction > 0) {
    const int64_t of = rule.eval_positions > 0 ? rule.eval_positions * batch : rows;
    return int64_t(std::ceil(rule.eval_fraction * double(of)));
  }
  return int64_t(rule.factor * double((rows + visible - 1) / visible));
}

namespace {

// Rows that travel, sorted by expert and then by slot: serving order makes slots ascend.
void pack(DispatchPlan& plan, const Routing& routing) {
  const int64_t n = routing.choices(), *offsets = routing.offsets.data<int64_t>();
  const int64_t *expert = routing.expert.data<int64_t>(), *order = routing.order.data<int64_t>();
  std::fill(plan.kept.begin(), plan.kept.end(), 0);
  for (int64_t i = 0; i < n; ++i)
    if (plan.slot[i] >= 0) ++plan.kept[expert[i]];
  std::vector<int64_t> next(plan.kept.size(), 0);
  int64_t rows = 0;
  for (size_t e = 0; e < next.size(); ++e) next[e] = rows, rows += plan.kept[e];
  std::vector<int64_t> token_of(n);
  for (int64_t s = 0; s < routing.rows(); ++s)
    for (int64_t i = offsets[s]; i < offsets[s + 1]; ++i) token_of[i] = s;
  plan.position = Tensor::empty({n}, DType::I64);
  plan.token = Tensor::empty({rows}, DType::I64);
  plan.choice = Tensor::empty({rows}, DType::I64);
  for (int64_t j = 0; j < n; ++j) {
    const int64_t i = order[j];
    const int64_t row = plan.slot[i] >= 0 ? next[expert[i]]++ : -1;
    plan.position.data<int64_t>()[i] = row;
    if (row < 0) continue;
    plan.token.data<int64_t>()[row] = token_of[i];
    plan.choice.data<int64_t>()[row] = i - offsets[token_of[i]];
  }
}

}  // namespace

DispatchPlan make_plan(const Routing& routing, int64_t num_experts, int64_t capacity) {
  const int64_t n = routing.choices();
  check(routing.order.numel() == n,
        concat("make_plan: ", n, " choices, but an order of ", routing.order.numel()));
  DispatchPlan plan;
  plan.capacity = capacity;
  plan.slot.assign(n, -1);
  plan.demand.assign(num_experts, 0);
  plan.kept.assign(num_experts, 0);
  const int64_t *expert = routing.expert.data<int64_t>(), *order = routing.order.data<int64_t>();
  for (int64_t j = 0; j < n; ++j) {
    const int64_t e = expert[order[j]];
    if (e < 0) continue;
    check(e < num_experts, concat("make_plan: expert ", e, " of ", num_experts));
    const int64_t slot = plan.demand[e]++;
    if (slot < capacity) plan.slot[order[j]] = slot;
  }
  pack(plan, routing);
  return plan;
}

void drop_choices(DispatchPlan& plan, const Routing& routing, const std::vector<bool>& dropped) {
  bool any = false;
  for (size_t i = 0; i < dropped.size(); ++i)
    if (dropped[i] && plan.slot[i] >= 0) plan.slot[i] = -1, any = true;
  if (any) pack(plan, routing);
}

}  // namespace switchyard::moe
