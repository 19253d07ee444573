// The frame of a sub-block: y = x + drop(f(norm(x))) (pre-norm) or y = norm(x + drop(f(x))) (post-norm).
#pragma once
#include "nn/context.h"
#include "nn/norm.h"

namespace switchyard {

// Dropout at the current path's site `name`; x itself when nothing is to be dropped.
inline Var drop(const Var& x, double p, const std::string& name, ForwardContext& ctx) {
  return ctx.training && p > 0 ? dropout(x, p, ctx.random(name)) : x;
}

template <class F>
Var residual(const Var& x, const LayerNorm& norm, bool pre_norm, double p, ForwardContext& ctx,
             F&& f) {
  const Var y = add(x, drop(f(pre_norm ? norm.forward(x) : x), p, "dropout", ctx));
  return pre_norm ? y : norm.forward(y);
}

}  // namespace switchyard
