// The local experts: FFN_e(h) = W2_e act(W1_e h + b1_e) + b2_e as two grouped matrix products over rows
// that are sorted by expert. An expert without rows gets zero gradients. specs/hmoe.md 2.6.
#pragma once
#include "moe/exchange.h"
#include "nn/feed_forward.h"

namespace switchyard::moe {

class Experts : public Module {
 public:
  // rank: in world; which experts it holds follows from the layout
  Experts(const dist::ExpertLayout& layout, int rank, const FeedForwardOptions& options)
      : options_(options) {
    const int64_t M = options.width, F = options.hidden, local = layout.num_local();
    const auto param = [&](Shape shape, int64_t fan_in) {
      return make_expert_param(std::move(shape), fan_in_uniform(fan_in), layout.first_expert(rank),
                               layout.num_experts, options.dtype);
    };
    fc1_weight = param({local, F, M}, M);
    fc1_bias = param({local, F}, M);
    fc2_weight = param({local, M, F}, F);
    fc2_bias = param({local, M}, F);
  }

  // x [R, M], the rows of a chunk of the experts -> [R, M]
  Var forward(const Var& x, const Trip& trip, ForwardContext& ctx) const {
    const auto of_chunk = [&](const Param& p) {
      return part(p.var, trip.first_expert, trip.first_expert + trip.experts);
    };
    Var h = options_.activation(
        grouped_linear(x, trip.offsets, of_chunk(fc1_weight), of_chunk(fc1_bias)));  // [R, F]
    if (ctx.training)
      h = dropout(h, options_.activation_dropout, ctx.random("activation_dropout"), trip.ids);
    return grouped_linear(h, trip.offsets, of_chunk(fc2_weight), of_chunk(fc2_bias));
  }
  void visit(ParamVisitor& v) override {
    v("fc1/weight", fc1_weight);
    v("fc1/bias", fc1_bias);
    v("fc2/weight", fc2_weight);
    v("fc2/bias", fc2_bias);
  }

  Param fc1_weight, fc1_bias;  // [E_local, F, M], [E_local, F]
  Param fc2_weight, fc2_bias;  // [E_local, M, F], [E_local, M]

 private:
  FeedForwardOptions options_;
};

}  // namespace switchyard::moe
