// The attention sub-blocks of a layer: "self_attn" and "cross_attn", each with its norm and residual.
#pragma once
#include "nn/attention.h"
#include "nn/norm.h"
#include "nn/sub_block.h"

namespace switchyard {

struct BlockOptions {
  bool pre_norm = true;
  double dropout = 0;  // of the block's output, before the residual sum
};

class SelfAttentionBlock : public SubBlock {
 public:
  SelfAttentionBlock(const AttentionOptions& attention, const BlockOptions& block, bool causal)
      : norm_(attention.width, attention.dtype),
        attention_(attention),
        block_(block),
        causal_(causal) {}
  Var forward(const Var& x, const Var& encoder_out, ForwardContext& ctx) override;
  void visit(ParamVisitor& v) override;

 private:
  LayerNorm norm_;
  Attention attention_;
  BlockOptions block_;
  bool causal_;
};

class CrossAttentionBlock : public SubBlock {
 public:
  CrossAttentionBlock(const AttentionOptions& attention, const BlockOptions& block)
      : norm_(attention.width, attention.dtype), attention_(attention), block_(block) {}
  Var forward(const Var& x, const Var& encoder_out, ForwardContext& ctx) override;
  void visit(ParamVisitor& v) override;

 private:
  LayerNorm norm_;
  Attention attention_;
  BlockOptions block_;
};

}  // namespace switchyard
