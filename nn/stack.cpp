#include "nn/stack.h"

namespace switchyard {
namespace {

// What the first pass decided since `begin`, for the second one.
size_t decisions_made(const DecisionRecorder& r) { return r.replaying ? r.next : r.log.size(); }

// block.forward(), but keeping only its inputs. Losses that the block adds are outputs of the
// checkpointed function, or their gradients would not reach the block.
Var forward_checkpointed(SubBlock& block, const Var& x, const Var& encoder_out,
                         ForwardContext& ctx) {
  struct Memory {
    ForwardContext entry;        // ctx as the block found it
    DecisionRecorder decisions;  // of the first pass
    std::vector<NamedLoss> losses;
    bool first = true;
  };
  auto memory = std::make_shared<Memory>();
  memory->entry = ctx;
  memory->entry.losses.clear();
  memory->entry.statistics.clear();

  // `live` is used by the first pass only, inside this call.
  auto run = [&block, memory, live = &ctx](const std::vector<Var>& in) {
    const Var memory_of_encoder = in.size() > 1 ? in[1] : Var();
    ForwardContext replay;
    if (!memory->first) {
      replay = memory->entry;
      replay.recomputing = true;
      memory->decisions.replaying = true;
      memory->decisions.next = 0;
      replay.recorder = &memory->decisions;
    }
    ForwardContext& c = memory->first ? *live : replay;
    DecisionRecorder* outer = c.recorder;
    if (memory->first && !outer) c.recorder = &memory->decisions;
    const size_t decided = outer ? decisions_made(*outer) : 0;
    const size_t losses_before = c.losses.size();

    std::vector<Var> out{block.forward(in[0], memory_of_encoder, c)};
    for (size_t i = losses_before; i < c.losses.size(); ++i) out.push_back(c.losses[i].value);
    if (memory->first) {
      memory->losses.assign(c.losses.begin() + losses_before, c.losses.end());
      c.losses.resize(losses_before);
      if (outer)
        memory->decisions.log.assign(outer->log.begin() + decided,
                                     outer->log.begin() + decisions_made(*outer));
      c.recorder = outer;
      memory->first = false;
    }
    return out;
  };

  std::vector<Var> inputs{x};
  if (encoder_out.defined()) inputs.push_back(encoder_out);
  const std::vector<Var> out = checkpoint(run, inputs);
  for (size_t i = 0; i < memory->losses.size(); ++i) {
    const NamedLoss& loss = memory->losses[i];
    ctx.losses.push_back({loss.name, loss.weight, out.at(i + 1)});
  }
  memory->losses.clear();
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
