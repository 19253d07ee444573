// The local experts: FFN_e(h) = W2_e act(W1_e h + b1_e) + b2_e as two grouped matrix products over rows
// that are sorted by expert. An expert without rows gets zero gradients. specs/hmoe.md 2.6.
#pragma once
#include "moe/exchange.h"
#include "nn/feed_forward.h"

namespace switchyard::moe {

class Experts : public Module {
 public:
  // rank: in world; which experts it holds follows from the layout
  Experts(const dist::ExpertLayout& layout, int rank, const FeedForwardOptions& options);
  Var forward(const Dispatched& in, ForwardContext& ctx) const;  // [R, M] -> [R, M]
  void visit(ParamVisitor& v) override;

  Param fc1_weight, fc1_bias;  // [E_local, F, M], [E_local, F]
  Param fc2_weight, fc2_bias;  // [E_local, M, F], [E_local, M]

 private:
  FeedForwardOptions options_;
};

}  // namespace switchyard::moe
