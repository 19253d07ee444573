#include "nn/stack.h"

#include <utility>

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
  memory->entry.losses.clear();
  memory->entry.statistics.clear();
  memory->entry.recomputing = true;
  memory->entry.recorder = &memory->decisions;
  const auto run = [&block, memory](const std::vector<Var>& in) {
    ForwardContext again = memory->entry;
    memory->decisions.next = 0;
    ForwardContext& c = memory->live ? *memory->live : again;
    std::vector<Var> out{block.forward(in[0], in[1], c)};
    for (const NamedLoss& loss : c.losses) out.push_back(loss.value);
    return out;
  };

  DecisionRecorder own;
  DecisionRecorder* const outer = ctx.recorder;
  DecisionRecorder& recorder = outer ? *outer : own;
  ctx.recorder = &recorder;
  const size_t begin = recorder.position();
  std::vector<NamedLoss> losses = std::exchange(ctx.losses, {});  // of the blocks before
  const std::vector<Var> out = checkpoint(run, {x, encoder_out});
  ctx.recorder = outer;
  memory->live = nullptr;
  memory->decisions.log.assign(recorder.log.begin() + begin,
                               recorder.log.begin() + recorder.position());
  memory->decisions.replaying = true;
  for (size_t i = 0; i < ctx.losses.size(); ++i) {
    ctx.losses[i].value = out[i + 1];
    losses.push_back(ctx.losses[i]);
  }
  ctx.losses = std::move(losses);
  return out[0];
}

}  // namespace

Var Stack::forward(const Var& input, const Var& encoder_out, ForwardContext& ctx) {
  const bool checkpointed = checkpoint_ && ctx.training && grad_enabled() && !ctx.decode;
  Var x = input;
  for (size_t i = 0; i < layers_.size(); ++i) {
    Scope scope(ctx, std::to_string(i));
    for (auto& block : layers_[i].blocks)
      x = checkpointed ? forward_checkpointed(*block, x, encoder_out, ctx)
                       : block->forward(x, encoder_out, ctx);
  }
  return norm_ ? norm_->forward(x) : x;
}

bool Stack::evolve(int64_t update) {
  bool changed = false;
  for (auto& layer : layers_)
    for (auto& block : layer.blocks) changed |= block->evolve(update);
  return changed;
}

void Stack::visit(ParamVisitor& v) {
  for (size_t i = 0; i < layers_.size(); ++i) v(std::to_string(i), layers_[i]);
  if (norm_) v("norm", *norm_);
}

}  // namespace switchyard
