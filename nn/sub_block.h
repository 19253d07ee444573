// A stack is a list of sub-blocks: self-attention, cross-attention, FFN, MoE. Each takes the residual
// stream and returns the new one, norm and residual included, so that a method that adds the residual
// itself (HMoE, once per stratum) needs no flag. The app builds the list; nn knows no MoE.
#pragma once
#include "nn/context.h"
#include "nn/module.h"

namespace switchyard {

class SubBlock : public Module {
 public:
  // x [rows, d]: the residual stream; encoder_out [B*Ts, d] for cross-attention (else undefined).
  virtual Var forward(const Var& x, const Var& encoder_out, ForwardContext& ctx) = 0;
  // Called between updates; true when the set of parameters changed (EvoMoE: one expert becomes many).
  virtual bool evolve(int64_t /*update*/) { return false; }
};

// Where in the model a sub-block is made: for factories.
struct LayerPlace {
  bool decoder = false;
  int layer = 0;  // from 0
  std::string path() const { return (decoder ? "decoder/" : "encoder/") + std::to_string(layer); }
};
// Makes the feed-forward sub-block of a layer: a dense FFN, or an MoE block. Its parameters appear
// directly under the layer's path, so it names itself: "ffn", "ffn_norm", "moe".
using FeedForwardFactory = std::function<std::unique_ptr<SubBlock>(const LayerPlace&)>;

}  // namespace switchyard
