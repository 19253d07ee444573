// How evenly the experts are used: the loss that evens it out, and the counters that show it.
#pragma once
#include "moe/plan.h"
#include "moe/router.h"

namespace switchyard::moe {

// Load-balancing loss of GShard and Switch (specs/hmoe.md 2.5), [1]:
//   aux = n_e sum_e f_e P_e,  f_e = first choices of e / S,  P_e = (1/S) sum_s p[s, e]
// over the n_e visible experts; the gradient flows through P alone. Counts are this rank's, not reduced.
// rows: S. Rows beyond those of `probs` are filler, zero vectors with p = 1 / n_e: they enter P and S.
inline Var balance_loss(const Routed& routed, int64_t rows) {
  const Routing& r = routed.routing;
  const int64_t S = r.rows(), visible = routed.probs.dim(1);
  const Tensor& p = routed.probs.data();
  const int64_t *expert = ints(r.expert), *offsets = ints(r.offsets);
  std::vector<double> f(visible, 0);
  double sum_f = 0;
  for (int64_t s = 0; s < S; ++s) {
    const int64_t e = expert[offsets[s]];
    if (e < 0) continue;
    f[e - routed.first_expert] += 1.0 / double(rows);
    sum_f += 1.0 / double(rows);
  }
  // sum_e f_e P_e = <mean over the S rows of p, f> S / rows + (filler rows) / (rows n_e) sum_e f_e
  const Tensor weight = Tensor::of(f).to(p.dtype()).to(p.device());
  const Var real = scale(dot(mean_rows(routed.probs), weight), double(visible * S) / double(rows));
  const double filler = sum_f * double(rows - S) / double(rows);
  return add(real, Var(Tensor::full({1}, filler, p.dtype(), p.device())));
}

// Counters of one round, which add up over rounds, micro-batches and ranks (ctx.count); the gate statistics
// of specs/hmoe.md 3 follow from the sums. Under the block's path, e.g. "decoder/1/moe/":
//   tokens_per_expert [E]            rows that travelled to each expert
//   first_choices, second_choices [E]  choices before any dropping, by expert
//   asked [2], over_capacity [2]     choices to be served, and those of them without a slot (first, second)
//   entropy [2]                      sum over rows of -sum p log p (nats), rows
//   cmr_gate [2]                     sum of CMR's gate over rows, rows (counted by methods/cmr)
//   tokens_per_round [L]             rows that entered each gate; rounds [2]: sum over tokens, tokens
// `gate` of `gates` gives its place in tokens_per_round.
inline void count_round(ForwardContext& ctx, const Routed& routed, const DispatchPlan& plan,
                        int64_t gate, int64_t gates) {
  const Routing& r = routed.routing;
  const int64_t *expert = ints(r.expert), *offsets = ints(r.offsets);
  std::vector<double> choices[2], asked(2), over(2), rows(gates);
  for (auto& c : choices) c.resize(plan.kept.size());
  for (int64_t s = 0; s < r.rows(); ++s)
    for (int64_t i = offsets[s]; i < offsets[s + 1]; ++i) {
      const int64_t e = expert[i], j = i > offsets[s];
      choices[j][chosen(e)] += 1;
      asked[j] += e >= 0;
      over[j] += e >= 0 && plan.slot[i] < 0;
    }
  rows[gate] = double(r.rows());
  ctx.count("tokens_per_expert", std::vector<double>(plan.kept.begin(), plan.kept.end()));
  ctx.count("first_choices", choices[0]);
  ctx.count("second_choices", choices[1]);
  ctx.count("asked", asked);
  ctx.count("over_capacity", over);
  ctx.count("entropy", {routed.entropy, rows[gate]});
  ctx.count("tokens_per_round", rows);
  ctx.count("rounds", {rows[gate], rows[0]});  // every token takes part in the first round
}

// Rounds of the real tokens by their sentence's group (translation: its direction), padding left out, under
// the block's path: rounds_by_group [2 G] = token rounds of group 0, its tokens, rounds of group 1, ...
// `token` i64 [n]: the rows of the stream that take part in this round.
inline void count_groups(ForwardContext& ctx, const Tensor& token, bool first_round) {
  if (ctx.group.empty()) return;
  const RowLayout& layout = ctx.layout;
  std::vector<double> rounds(2 * (size_t(std::ranges::max(ctx.group)) + 1));
  const int64_t* tokens = ints(token);
  const uint8_t* padding = layout.padding.data<uint8_t>();
  for (int64_t i = 0; i < token.numel(); ++i) {
    const int64_t t = tokens[i];
    if (padding && padding[t]) continue;
    const size_t group = size_t(ctx.group.at(size_t(t / layout.time)));
    rounds[2 * group] += 1;
    rounds[2 * group + 1] += first_round;
  }
  ctx.count("rounds_by_group", rounds);
}

}  // namespace switchyard::moe
