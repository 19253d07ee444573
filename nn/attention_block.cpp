#include "nn/attention_block.h"

#include "nn/residual.h"

namespace switchyard {

Var SelfAttentionBlock::forward(const Var& x, const Var&, ForwardContext& ctx) {
  Scope scope(ctx, "self_attn");
  return residual(x, norm_, block_.pre_norm, block_.dropout, ctx,
                  [&](const Var& h) { return attention_.self(h, causal_, ctx); });
}

void SelfAttentionBlock::visit(ParamVisitor& v) {
  v("self_attn_norm", norm_);
  v("self_attn", attention_);
}

Var CrossAttentionBlock::forward(const Var& x, const Var& encoder_out, ForwardContext& ctx) {
  Scope scope(ctx, "cross_attn");
  return residual(x, norm_, block_.pre_norm, block_.dropout, ctx,
                  [&](const Var& h) { return attention_.cross(h, encoder_out, ctx); });
}

void CrossAttentionBlock::visit(ParamVisitor& v) {
  v("cross_attn_norm", norm_);
  v("cross_attn", attention_);
}

}  // namespace switchyard
