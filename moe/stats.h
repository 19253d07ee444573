// What an MoE block measured: counters that add up over rounds, micro-batches and ranks (ctx.count), and
// the figures that a log shows, derived from the sums. specs/hmoe.md 3, "logged gate statistics".
// Counters under the block's path, e.g. "decoder/1/moe/":
//   tokens_per_expert [E]            rows that travelled to each expert
//   first_choices, second_choices [E]  choices before any dropping, by expert
//   asked [2], over_capacity [2]     choices to be served, and those of them without a slot (first, second)
//   entropy [2]                      sum over rows of -sum p log p (nats), rows
//   tokens_per_round [L]             rows that entered each gate; rounds [2]: sum over tokens, tokens
#pragma once
#include "moe/plan.h"
#include "moe/router.h"

namespace switchyard::moe {

// One round; `gate` of `gates` gives its place in tokens_per_round. Nothing when ctx is recomputing.
void count_round(ForwardContext& ctx, const Routed& routed, const DispatchPlan& plan, int64_t gate,
                 int64_t gates);
// Rounds that each token took part in.
void count_rounds_per_token(ForwardContext& ctx, const std::vector<int64_t>& rounds);

struct Share {
  double top, bottom;  // percent of the choices that went to the `experts` most and least chosen
  int64_t unused;      // experts nobody chose
};
Share share_of(std::vector<double> choices, int64_t experts);

struct MoeSummary {
  std::vector<double> tokens_per_expert, first_choices;
  double dropped_percent;           // of all choices to be served
  double over_capacity_percent[2];  // of first and second choices
  double entropy, mean_rounds;      // nats per row; rounds per token
  Share first, second;              // top and bottom 20 % of the experts (at least one)
};
// path: "decoder/1/moe". Zeros where nothing was counted.
MoeSummary summarize(const Statistics& statistics, const std::string& path);

}  // namespace switchyard::moe
