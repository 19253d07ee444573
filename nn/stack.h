// A stack is a list of sub-blocks: self-attention, cross-attention, FFN, MoE. Each takes the residual
// stream and returns the new one, norm and residual included, so that a method that adds the residual
// itself (HMoE, once per stratum) needs no flag. The app builds the list; nn knows no MoE.
#pragma once
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

// The frame of a sub-block: y = x + drop(f(norm(x))) (pre-norm) or y = norm(x + drop(f(x))) (post-norm).
// f is a module with forward(h, encoder_out, ctx); its parameters lie under "<name>/", the norm's under
// "<name>_norm/".
template <class F>
struct Residual : SubBlock {
  std::string name;
  F f;
  LayerNorm norm;
  bool pre_norm;
  double dropout;
  Residual(std::string name, F f, LayerNorm norm, bool pre_norm, double dropout)
      : name(std::move(name)),
        f(std::move(f)),
        norm(std::move(norm)),
        pre_norm(pre_norm),
        dropout(dropout) {}

  Var forward(const Var& x, const Var& encoder_out, ForwardContext& ctx) override {
    Scope scope(ctx, name);
    const Var h = f.forward(pre_norm ? norm.forward(x) : x, encoder_out, ctx);
    const Var y = add(x, drop(h, dropout, "dropout", ctx));
    return pre_norm ? y : norm.forward(y);
  }
  void visit(ParamVisitor& v) override {
    v(name + "_norm", norm);
    v(name, f);
  }
};

// block.forward(), but keeping only its inputs. Losses that the block adds are outputs of the
// checkpointed function, or their gradients would not reach the block.
inline Var forward_checkpointed(SubBlock& block, const Var& x, const Var& encoder_out,
                                ForwardContext& ctx) {
  struct Memory {
    ForwardContext* live;        // the first pass runs on the caller's context; null in the second
    ForwardContext entry;        // that context as the block found it, for the second pass
    DecisionRecorder decisions;  // of the first pass
  };
  const auto memory = std::make_shared<Memory>(Memory{&ctx, ctx, {}});
  memory->decisions.outer = ctx.recorder;
  memory->entry.losses.clear();
  memory->entry.statistics.clear();
  memory->entry.measured.clear();
  ctx.recorder = memory->entry.recorder = &memory->decisions;
  const auto run = [&block, memory](const std::vector<Var>& in) {
    ForwardContext again = memory->entry;
    ForwardContext& c = memory->live ? *memory->live : again;
    memory->decisions.next = 0;
    const size_t before = c.losses.size();
    std::vector<Var> out{block.forward(in[0], in[1], c)};
    for (size_t i = before; i < c.losses.size(); ++i) out.push_back(c.losses[i].value);
    return out;
  };
  const size_t before = ctx.losses.size();
  const std::vector<Var> out = checkpoint(run, {x, encoder_out});
  for (size_t i = 1; i < out.size(); ++i) ctx.losses[before + i - 1].value = out[i];
  ctx.recorder = memory->decisions.outer;
  memory->decisions.replaying = true;
  memory->live = nullptr;
  return out[0];
}

// Sub-blocks in order, those of layer i under "<i>/", and the norm after the last one (pre-norm models).
// With activation checkpointing each sub-block keeps only its inputs; backward runs it again with the same
// random draws and the recorded integer decisions.
class Stack : public Module {
 public:
  using Blocks = std::vector<std::pair<int, std::unique_ptr<SubBlock>>>;  // with their layers
  Stack(Blocks blocks, std::optional<LayerNorm> norm, bool checkpoint_activations)
      : blocks_(std::move(blocks)), norm_(std::move(norm)), checkpoint_(checkpoint_activations) {}

  Var forward(Var x, const Var& encoder_out, ForwardContext& ctx) {  // [rows, d] -> [rows, d]
    const bool checkpointed = checkpoint_ && ctx.training && grad_enabled() && !ctx.decode;
    for (auto& [layer, block] : blocks_) {
      Scope scope(ctx, std::to_string(layer));
      x = checkpointed ? forward_checkpointed(*block, x, encoder_out, ctx)
                       : block->forward(x, encoder_out, ctx);
    }
    return norm_ ? norm_->forward(x) : x;
  }
  bool evolve(int64_t update) {  // true when the set of parameters changed
    bool changed = false;
    for (auto& [layer, block] : blocks_) changed |= block->evolve(update);
    return changed;
  }
  void visit(ParamVisitor& v) override {
    for (auto& [layer, block] : blocks_) v(std::to_string(layer), *block);
    if (norm_) v("norm", *norm_);
  }

 private:
  Blocks blocks_;
  std::optional<LayerNorm> norm_;
  bool checkpoint_;
};

}  // namespace switchyard
