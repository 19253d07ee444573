// MoeLayer: one set of experts and the way through it: plan -> dispatch -> experts -> combine. A method
// makes the routing and may run the same layer several times, once per round.
// Read before: routing.h, plan.h, exchange.h, experts.h.
#pragma once
#include "moe/experts.h"

namespace switchyard::moe {

// Final weights, once it is known what was dropped (specs/hmoe.md 2.3, steps 3 and 8): gate values of
// surviving choices, divided by max(sum over the token's choices, epsilon) before or after dropping.
Var combine_weights(const Routing& routing, const DispatchPlan& plan);  // [n], 0 = dropped

// What thins the experts' outputs at their token's owner.
struct OutputNoise {
  double dropout = 0;
  double eom = 0, fom = 0;  // masking rates of a choice's output, and of a token's weighted sum
};

class MoeLayer : public Module {
 public:
  // local_drop: probability that a training round is served without exchange by the experts at hand
  MoeLayer(const dist::Mesh& mesh, const FeedForwardOptions& options, const OutputNoise& noise,
           dist::ExchangeMode mode, double local_drop = 0)
      : comm_(mesh.expert),
        mode_(mode),
        noise_(noise),
        local_drop_(local_drop),
        num_experts_(mesh.layout.num_experts),
        experts_(mesh.layout, mesh.world.rank(), options) {}

  struct Output {
    Var out;  // [S, M]: weighted sum over each row's surviving choices; 0 for a row without any
    DispatchPlan plan;
    Var weight;  // [n]
  };
  // x [S, M]; token i64 [S]: position of each row in the micro-batch, which keys its random numbers.
  Output run(const Var& x, const Routing& routing, int64_t capacity, const Tensor& token,
             ForwardContext& ctx) const;

  void visit(ParamVisitor& v) override { v("experts", experts_); }

 private:
  bool stays_local(const ForwardContext& ctx) const;

  dist::Comm comm_;
  dist::ExchangeMode mode_;
  OutputNoise noise_;
  double local_drop_;
  int64_t num_experts_;
  Experts experts_;
};

}  // namespace switchyard::moe
