// DispatchPlan: which choice gets which slot of which expert, and where its row lies among the rows that
// travel. A pure function of integers: no features, no communication. Its heart is a stable counting sort
// in serving order, in which capacity drops happen. Read before: routing.h. Read next: exchange.h.
#pragma once
#include <algorithm>
#include <cmath>
#include <numeric>

#include "moe/routing.h"

namespace switchyard::moe {

// Slots for each expert: specs/hmoe.md 2.2.
struct CapacityRule {
  double factor = 2;           // training: trunc(factor * ceil(S / visible))
  double eval_fraction = -1;   // evaluation, if > 0: ceil(fraction * S)
  int64_t eval_positions = 0;  // if > 0, evaluation: ceil(fraction * positions * batch)
};
inline int64_t capacity_of(const CapacityRule& rule, bool training, int64_t rows, int64_t visible,
                           int64_t batch) {
  if (!training && rule.eval_fraction > 0) {
    const int64_t of = rule.eval_positions > 0 ? rule.eval_positions * batch : rows;
    return int64_t(std::ceil(rule.eval_fraction * double(of)));
  }
  return int64_t(rule.factor * double((rows + visible - 1) / visible));
}

struct DispatchPlan {
  int64_t capacity = 0;
  std::vector<int64_t> slot;  // [n] of a choice in its expert; -1: dropped, or not to be served
  // Of the rows that travel:
  std::vector<int64_t> kept;  // [E] rows for the expert
  Tensor position;            // i64 [n] row of a choice; or -1
  Tensor token;               // i64 [m] row of x
  Tensor choice;              // i64 [m] which of the n choices it serves
};

// Slots only. A choice waits behind all choices served earlier, also behind those that found no slot.
inline DispatchPlan make_plan(const Routing& routing, int64_t num_experts, int64_t capacity) {
  DispatchPlan plan;
  plan.capacity = capacity;
  plan.slot.assign(routing.choices(), -1);
  plan.kept.assign(num_experts, 0);
  std::vector<int64_t> asked(num_experts, 0);
  const int64_t n = routing.choices(), *expert = ints(routing.expert), *order = ints(routing.order);
  for (int64_t j = 0; j < n; ++j) {
    const int64_t i = order[j], e = expert[i];
    if (e < 0) continue;
    if (asked[e] < capacity) plan.slot[i] = asked[e];
    ++asked[e];
  }
  return plan;
}

// How rows travel: the experts of each rank are cut into chunks, one exchange for each.
struct Chunks {
  int64_t members = 1, experts = 1;  // ranks, and experts on each
  int64_t count = 1;
  int64_t begin(int64_t chunk) const { return experts * chunk / count; }  // its first local expert
};

// Lets the choices with a slot travel. Rows lie by chunk, then expert, then slot.
inline void pack_rows(DispatchPlan& plan, const Routing& routing, const Chunks& chunks) {
  const int64_t n = routing.choices(), *expert = ints(routing.expert);
  for (int64_t i = 0; i < n; ++i)
    if (plan.slot[i] >= 0) ++plan.kept[expert[i]];
  std::vector<int64_t> next(plan.kept.size());
  int64_t rows = 0;
  for (int64_t c = 0; c < chunks.count; ++c)
    for (int64_t m = 0; m < chunks.members; ++m)
      for (int64_t e = chunks.begin(c); e < chunks.begin(c + 1); ++e) {
        next[m * chunks.experts + e] = rows;
        rows += plan.kept[m * chunks.experts + e];
      }
  plan.position = Tensor::empty({n}, DType::I64);
  plan.token = Tensor::empty({rows}, DType::I64);
  plan.choice = Tensor::empty({rows}, DType::I64);
  const int64_t *offsets = ints(routing.offsets), *order = ints(routing.order);
  int64_t *position = ints(plan.position), *token = ints(plan.token), *choice = ints(plan.choice);
  for (int64_t j = 0; j < n; ++j) {  // the slots of an expert ascend in it
    const int64_t i = order[j];
    position[i] = plan.slot[i] >= 0 ? next[expert[i]]++ : -1;
  }
  for (int64_t s = 0; s < routing.rows(); ++s)
    for (int64_t i = offsets[s]; i < offsets[s + 1]; ++i)
      if (position[i] >= 0) token[position[i]] = s, choice[position[i]] = i;
}

}  // namespace switchyard::moe
