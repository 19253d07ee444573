// How evenly the experts are used: the loss that evens it out, and the counters that show it.
#pragma once
#include "moe/plan.h"
#include "moe/router.h"

namespace switchyard::moe {

// Load-balancing loss of GShard and Switch (specs/hmoe.md 2.5), [1]:
//   aux = n_e sum_e f_e P_e,  f_e = first choices of e / S,  P_e = (1/S) sum_s p[s, e]
// over the n_e visible experts; the gradient flows through P alone. Counts are this rank's, not reduced.
// rows: S. Rows beyond those of `probs` are filler, zero vectors with p = 1 / n_e: they enter P and S.
Var balance_loss(const Routed& routed, int64_t rows);

// Counters of one round, which add up over rounds, micro-batches and ranks (ctx.count); the gate statistics
// of specs/hmoe.md 3 follow from the sums. Under the block's path, e.g. "decoder/1/moe/":
//   tokens_per_expert [E]            rows that travelled to each expert
//   first_choices, second_choices [E]  choices before any dropping, by expert
//   asked [2], over_capacity [2]     choices to be served, and those of them without a slot (first, second)
//   entropy [2]                      sum over rows of -sum p log p (nats), rows
//   cmr_gate [2]                     sum of CMR's gate over rows, rows (counted by methods/cmr)
//   tokens_per_round [L]             rows that entered each gate; rounds [2]: sum over tokens, tokens
// `gate` of `gates` gives its place in tokens_per_round.
void count_round(ForwardContext& ctx, const Routed& routed, const DispatchPlan& plan, int64_t gate,
                 int64_t gates);

}  // namespace switchyard::moe
