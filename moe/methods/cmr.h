// Conditional MoE routing (CMR; Elbayad et al. 2022; specs/hmoe.md 2.9): a soft gate g mixes a shared FFN and the MoE,
//   out = (1 - g) FFN_shared(h) + g moe(h),   g = sigmoid(w h + b), thinned by inverted dropout in training.
// Both branches always run. Budget loss over all blocks: | sum g / max(sum 1, 1e-5) - p | (nn/loss.h).
#pragma once
#include "dist/comm.h"
#include "moe/methods/hmoe_config.h"
#include "nn/feed_forward.h"

namespace switchyard::moe {

// y = sum of x over ranks. Every rank's loss sees y, so the gradient is the sum over ranks of theirs.
inline Var sum_over_ranks(const Var& x, const dist::Comm& world) {
  const auto reduced = [world](const Tensor& t) {
    Tensor total = t.clone();
    world.all_reduce(total);
    return total;
  };
  return make_node(
      "sum_over_ranks", reduced(x.data()), {x},
      [reduced](const Tensor& dy) -> Grads { return {reduced(dy)}; }, true);
}

class ConditionalRouting : public Module {
 public:
  // dropout: of the shared FFN's output, as of an expert's
  ConditionalRouting(const HmoeConfig& config, const FeedForwardOptions& ffn, double dropout,
                     const dist::Comm& world)
      : config_(config),
        dropout_(dropout),
        world_(world),
        gate_(ffn.width, 1, ffn.dtype),
        shared_(ffn) {}

  // h, moe_out [S, M]; token i64 [S]: position in the micro-batch, which keys random numbers
  Var mix(const Var& h, const Var& moe_out, const Tensor& token, ForwardContext& ctx) const {
    const Var score = gate_.forward(h);  // [S, 1]
    Var g = sigmoid(cast(score, compute_type(score.data().dtype())));
    if (ctx.training && config_.cmr_gate_drop > 0) {
      const Tensor given = injected("cmr_gate_keep", g.data().dtype(), ctx);
      g = given.defined()
              ? scale(mul(g, Var(given.to(g.data().device()))), 1 / (1 - config_.cmr_gate_drop))
              : dropout(g, config_.cmr_gate_drop, ctx.random("cmr_gate"), token);
    }
    Var used = sum(g);
    ctx.count("cmr_gate", used.data());
    ctx.count("cmr_gate", {0, double(h.dim(0))});
    int64_t total = h.dim(0);
    if (config_.moe_cmr_xgpu) {  // the budget counts the tokens of all ranks
      used = sum_over_ranks(used, world_);
      total = decide(ctx, [&] {
        return std::vector<int64_t>{world_.all_reduce(total, dist::Reduce::Sum)};
      })[0];
    }
    ctx.losses.push_back(
        {"cmr", config_.cmr_loss_weight(), used, Budget{double(total), config_.cmr_gate_loss_p}});

    const Var shared = dropout(shared_.forward(h, {}, ctx), ctx.training ? dropout_ : 0,
                               ctx.random("shared_dropout"), token);
    return add(shared, scale_rows(add(moe_out, scale(shared, -1)), g));
  }
  void visit(ParamVisitor& v) override {
    v("cmr_gate", gate_);
    v("shared", shared_);
  }

 private:
  HmoeConfig config_;
  double dropout_;
  dist::Comm world_;
  Linear gate_;         // [1, M]
  FeedForward shared_;  // of the dense FFN's size
};

}  // namespace switchyard::moe
