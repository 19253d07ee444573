// The frame of a sub-block: y = x + drop(f(norm(x))) (pre-norm) or y = norm(x + drop(f(x))) (post-norm).
// f is a module with forward(h, encoder_out, ctx); its parameters lie under "<name>/", the norm's under
// "<name>_norm/".
#pragma once
#include "nn/norm.h"
#include "nn/sub_block.h"

namespace switchyard {

struct BlockOptions {
  bool pre_norm = true;
  double dropout = 0;  // of the block's output, before the residual sum
};

// Dropout at the current path's site `name`; x itself when nothing is to be dropped.
inline Var drop(const Var& x, double p, const std::string& name, ForwardContext& ctx) {
  return ctx.training && p > 0 ? dropout(x, p, ctx.random(name)) : x;
}

template <class F>
class Residual : public SubBlock {
 public:
  Residual(std::string name, F f, LayerNorm norm, const BlockOptions& options)
      : name_(std::move(name)), f_(std::move(f)), norm_(std::move(norm)), options_(options) {}

  Var forward(const Var& x, const Var& encoder_out, ForwardContext& ctx) override {
    Scope scope(ctx, name_);
    const Var h = f_.forward(options_.pre_norm ? norm_.forward(x) : x, encoder_out, ctx);
    const Var y = add(x, drop(h, options_.dropout, "dropout", ctx));
    return options_.pre_norm ? y : norm_.forward(y);
  }
  void visit(ParamVisitor& v) override {
    v(name_ + "_norm", norm_);
    v(name_, f_);
  }

 private:
  std::string name_;
  F f_;
  LayerNorm norm_;
  BlockOptions options_;
};

}  // namespace switchyard
