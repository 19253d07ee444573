#include "moe/methods/cmr.h"

#include "moe/routing.h"

namespace switchyard::moe {
namespace {

// y = sum of x over ranks. Every rank's loss sees y, so the gradient is the sum over ranks of theirs.
Var sum_over_ranks(const Var& x, const dist::Comm& world) {
  const auto reduced = [world](const Tensor& t) {
    Tensor total = t.clone();
    world.all_reduce(total);
    return total;
  };
  return make_node(
      "sum_over_ranks", reduced(x.data()), {x},
      [reduced](const Tensor& dy) -> Grads { return {reduced(dy)}; }, true);
}

}  // namespace

Var ConditionalRouting::mix(const Var& h, const Var& moe_out, const Tensor& token,
                            ForwardContext& ctx) const {
  Var g = sigmoid(gate_.forward(h));  // [S, 1]
  if (ctx.training && options_.gate_drop > 0) {
    const Tensor given = injected("cmr_gate_keep", g.data().dtype(), ctx);
    g = given.defined() ? scale(mul(g, Var(given)), 1 / (1 - options_.gate_drop))
                        : dropout(g, options_.gate_drop, ctx.random("cmr_gate"), token);
  }
  Var used = sum(g);
  ctx.count("cmr_gate", {value_of(used.data()), double(h.dim(0))});
  int64_t total = h.dim(0);
  if (options_.across_ranks) {
    used = sum_over_ranks(used, world_);
    total = decide(ctx, [&] { return std::vector<int64_t>{world_.sum(total)}; })[0];
  }
  ctx.losses.push_back({"cmr", options_.loss_weight, used, Budget{double(total), options_.budget}});

  Var shared = shared_.forward(h, {}, ctx);
  if (ctx.training && dropout_ > 0)
    shared = dropout(shared, dropout_, ctx.random("shared_dropout"), token);
  return add(shared, scale_rows(add(moe_out, scale(shared, -1)), g));
}

}  // namespace switchyard::moe
