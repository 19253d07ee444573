// The dense feed-forward sub-block: y = x + drop(W2 drop(act(W1 norm(x) + b1)) + b2).
// An MoE block takes its place in some layers (sub_block.h: FeedForwardFactory).
#pragma once
#include "nn/attention_block.h"
#include "nn/linear.h"

namespace switchyard {

using Activation = Var (*)(const Var&);
Activation activation_by_name(const std::string& name);  // "relu", "gelu"

struct FeedForwardOptions {
  int64_t width = 0, hidden = 0;
  Activation activation = &relu;
  double activation_dropout = 0;
  DType dtype = DType::F32;
};

class FeedForward : public SubBlock {
 public:
  FeedForward(const FeedForwardOptions& options, const BlockOptions& block)
      : options_(options),
        block_(block),
        norm_(options.width, options.dtype),
        fc1_(options.width, options.hidden, options.dtype),
        fc2_(options.hidden, options.width, options.dtype) {}
  Var forward(const Var& x, const Var& encoder_out, ForwardContext& ctx) override;
  void visit(ParamVisitor& v) override;

 private:
  FeedForwardOptions options_;
  BlockOptions block_;
  LayerNorm norm_;
  Linear fc1_, fc2_;
};

}  // namespace switchyard
