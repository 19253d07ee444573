// A stack is a list of sub-blocks: self-attention, cross-attention, FFN, MoE. Each takes the residual
// stream and returns the new one, norm and residual included, so that a method that adds the residual
// itself (HMoE, once per stratum) needs no flag. The app builds the list; nn knows no MoE.
#pragma once
#include <memory>
#include <optional>

#include "nn/context.h"
#include "nn/layers.h"

namespace switchyard {

struct SubBlock : Module {
  // x [rows, d]: the residual stream; encoder_out [B*Ts, d] for cross-attention (else undefined).
  virtual Var forward(const Var& x, const Var& encoder_out, ForwardContext& ctx) = 0;
  // Called between updates; true when the set of parameters changed (EvoMoE: one expert becomes many).
  virtual bool evolve(int64_t /*update*/) { return false; }
};

// Dropout at the current path's site `name`; x itself when nothing is to be dropped.
inline Var drop(const Var& x, double p, const std::string& name, ForwardContext& ctx) {
  return ctx.training ? dropout(x, p, ctx.random(name)) : x;
}

struct BlockOptions {
  bool pre_norm = true;
  double dropout = 0;  // of the block's output, before the residual sum
};

// The frame of a sub-block: y = x + drop(f(norm(x))) (pre-norm) or y = norm(x + drop(f(x))) (post-norm).
// f is a module with forward(h, encoder_out, ctx); its parameters lie under "<name>/", the norm's under
// "<name>_norm/".
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

// Sub-blocks in order, those of layer i under "<i>/", and the norm after the last one (pre-norm models).
// With activation checkpointing each sub-block keeps only its inputs; backward runs it again with the same
// random draws and the recorded integer decisions.
class Stack : public Module {
 public:
  using Blocks = std::vector<std::pair<int, std::unique_ptr<SubBlock>>>;  // with their layers
  Stack(Blocks blocks, std::optional<LayerNorm> norm, bool checkpoint_activations)
      : blocks_(std::move(blocks)), norm_(std::move(norm)), checkpoint_(checkpoint_activations) {}

  Var forward(const Var& x, const Var& encoder_out, ForwardContext& ctx);  // [rows, d] -> [rows, d]
  bool evolve(int64_t update);  // true when the set of parameters changed
  void visit(ParamVisitor& v) override;

 private:
  Blocks blocks_;
  std::optional<LayerNorm> norm_;
  bool checkpoint_;
};

}  // namespace switchyard
