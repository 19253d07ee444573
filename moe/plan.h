// DispatchPlan: which choice gets which slot of which expert, and where its row lies among the rows that
// travel. A pure function of integers: no features, no communication. Its heart is a stable counting sort
// in serving order, in which capacity drops happen. Read before: routing.h. Read next: exchange.h.
#pragma once
#include "moe/routing.h"

namespace switchyard::moe {

// Slots for each expert: specs/hmoe.md 2.2.
struct CapacityRule {
  double factor = 2;           // training: trunc(factor * ceil(S / visible))
  double eval_fraction = -1;   // evaluation, if > 0: ceil(fraction * S)
  int64_t eval_positions = 0;  // if > 0, evaluation: ceil(fraction * positions * batch)
};
int64_t capacity_of(const CapacityRule& rule, bool training, int64_t rows, int64_t visible,
                    int64_t batch);

struct DispatchPlan {
  int64_t capacity = 0;
  std::vector<int64_t> slot;  // [n] of a choice in its expert; -1: dropped, or not to be served
  // Of the rows that travel, sorted by expert, then slot:
  std::vector<int64_t> kept;  // [E] rows for the expert
  Tensor position;            // i64 [n] row of a choice; or -1
  Tensor token;               // i64 [m] row of x
  Tensor choice;              // i64 [m] which choice of its token it is: 0, 1, ...
};

// Slots only. A choice waits behind all choices served earlier, also behind those that found no slot.
DispatchPlan make_plan(const Routing& routing, int64_t num_experts, int64_t capacity);
// Lets the choices with a slot travel.
void pack_rows(DispatchPlan& plan, const Routing& routing);

}  // namespace switchyard::moe
