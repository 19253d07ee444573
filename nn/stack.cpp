#include "nn/stack.h"

namespace switchyard {
namespace {

// block.forward(), but keeping only its inputs. Losses that the block adds are outputs of the
// checkpointed function, or their gradients would not reach the block.
Var forward_checkpointed(SubBlock& block, const Var& x, const Var& encoder_out,
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

}  // namespace

Var Stack::forward(const Var& input, const Var& encoder_out, ForwardContext& ctx) {
  const bool checkpointed = checkpoint_ && ctx.training && grad_enabled() && !ctx.decode;
  Var x = input;
  for (auto& [layer, block] : blocks_) {
    Scope scope(ctx, std::to_string(layer));
    x = checkpointed ? forward_checkpointed(*block, x, encoder_out, ctx)
                     : block->forward(x, encoder_out, ctx);
  }
  return norm_ ? norm_->forward(x) : x;
}

bool Stack::evolve(int64_t update) {
  bool changed = false;
  for (auto& [layer, block] : blocks_) changed |= block->evolve(update);
  return changed;
}

void Stack::visit(ParamVisitor& v) {
  for (auto& [layer, block] : blocks_) v(std::to_string(layer), *block);
  if (norm_) v("norm", *norm_);
}

}  // namespace switchyard
