#include "nn/feed_forward.h"

#include "nn/residual.h"

namespace switchyard {

Activation activation_by_name(const std::string& name) {
  if (name == "relu") return &relu;
  if (name == "gelu") return &gelu;
  throw UserError("--activation-fn " + name + ": expected relu or gelu");
}

Var FeedForward::forward(const Var& x, const Var&, ForwardContext& ctx) {
  Scope scope(ctx, "ffn");
  return residual(x, norm_, block_.pre_norm, block_.dropout, ctx, [&](const Var& h) {
    const Var hidden = options_.activation(fc1_.forward(h));  // [n, F]
    return fc2_.forward(drop(hidden, options_.activation_dropout, "activation_dropout", ctx));
  });
}

void FeedForward::visit(ParamVisitor& v) {
  v("ffn_norm", norm_);
  v("ffn/fc1", fc1_);
  v("ffn/fc2", fc2_);
}

}  // namespace switchyard
