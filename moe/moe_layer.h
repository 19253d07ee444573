// MoeLayer: one set of experts and the way through it: plan -> dispatch -> experts -> combine. A method
// makes the routing and may run the same layer several times, once per round.
// Read before: routing.h, plan.h, exchange.h, experts.h.
#pragma once
#include "moe/experts.h"

namespace switchyard::moe {

// Final weights, once it is known what was dropped (specs/hmoe.md 2.3, steps 3 and 8): gate values of
// surviving choices, divided by max(sum over the token's choices, epsilon) before or after dropping.
Var combine_weights(const Routing& routing, const DispatchPlan& plan);  // [n], 0 = dropped

struct MoeOptions {
  // What thins the experts' outputs at their token's owner. Masking (EOM, FOM: Elbayad et al. 2022;
  // specs/hmoe.md 2.9): of a choice's output, and of a token's weighted sum.
  double dropout = 0, eom = 0, fom = 0;
  double local_drop = 0;  // probability that a training round is served without exchange
  dist::ExchangeMode exchange = dist::ExchangeMode::Rows;
};

class MoeLayer : public Module {
 public:
  MoeLayer(const dist::Mesh& mesh, const FeedForwardOptions& ffn, const MoeOptions& options)
      : comm_(mesh.expert),
        options_(options),
        num_experts_(mesh.layout.num_experts),
        experts_(mesh.layout, mesh.world.rank(), ffn) {}

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
  dist::Comm comm_;
  MoeOptions options_;
  int64_t num_experts_;
  Experts experts_;
};

}  // namespace switchyard::moe
