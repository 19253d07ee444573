// What an MoE block measured: counters that add up over rounds, micro-batches and ranks (ctx.count); the
// gate statistics of specs/hmoe.md 3 follow from the sums.
// Counters under the block's path, e.g. "decoder/1/moe/":
//   tokens_per_expert [E]            rows that travelled to each expert
//   first_choices, second_choices [E]  choices before any dropping, by expert
//   asked [2], over_capacity [2]     choices to be served, and those of them without a slot (first, second)
//   entropy [2]                      sum over rows of -sum p log p (nats), rows
//   cmr_gate [2]                     sum of CMR's gate over rows, rows (counted by methods/cmr)
//   tokens_per_round [L]             rows that entered each gate; rounds [2]: sum over tokens, tokens
#pragma once
#include "moe/plan.h"
#include "moe/router.h"

namespace switchyard::moe {

// One round; `gate` of `gates` gives its place in tokens_per_round. Nothing when ctx is recomputing.
void count_round(ForwardContext& ctx, const Routed& routed, const DispatchPlan& plan, int64_t gate,
                 int64_t gates);

}  // namespace switchyard::moe
