// Conditional MoE routing (CMR; Elbayad et al. 2022; specs/hmoe.md 2.9): a soft gate g mixes a shared FFN and the MoE,
//   out = (1 - g) FFN_shared(h) + g moe(h),   g = sigmoid(w h + b), thinned by inverted dropout in training.
// Both branches always run. Budget loss over all blocks: | sum g / max(sum 1, 1e-5) - p | (nn/loss.h).
#pragma once
#include "dist/comm.h"
#include "nn/feed_forward.h"

namespace switchyard::moe {

struct CmrOptions {
  double gate_drop = 0;
  double loss_weight = 0, budget = 1;  // p: the wanted share of the MoE
  bool across_ranks = false;           // the budget counts the tokens of all ranks
};

class ConditionalRouting : public Module {
 public:
  // dropout: of the shared FFN's output, as of an expert's
  ConditionalRouting(const CmrOptions& options, const FeedForwardOptions& ffn, double dropout,
                     const dist::Comm& world)
      : options_(options),
        dropout_(dropout),
        world_(world),
        gate_(ffn.width, 1, ffn.dtype),
        shared_(ffn) {}
  // h, moe_out [S, M]; token i64 [S]: position in the micro-batch, which keys random numbers
  Var mix(const Var& h, const Var& moe_out, const Tensor& token, ForwardContext& ctx) const;
  void visit(ParamVisitor& v) override {
    v("cmr_gate", gate_);
    v("shared", shared_);
  }

 private:
  CmrOptions options_;
  double dropout_;
  dist::Comm world_;
  Linear gate_;         // [1, M]
  FeedForward shared_;  // of the dense FFN's size
};

}  // namespace switchyard::moe
