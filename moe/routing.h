// Routing: what a router decides, as a value. Ragged: token s has the choices offsets[s] ..
// offsets[s+1]-1; a fixed k is the regular case. Design 5, "what the five methods will ask", item 2.
// Read next: router.h (who makes it), plan.h (what becomes of it).
#pragma once
#include "nn/context.h"

namespace switchyard::moe {

// When the gate values of a token are divided by their sum.
enum class Normalize { None, BeforeDrop, AfterDrop };

struct Routing {
  Tensor offsets;  // i64 [S+1]
  Tensor expert;   // i64 [n] global index; ~e < 0: e was chosen but is not to be served
  Var gate;      // [n] raw gate values, differentiable; the one member on the device of the stream
  Tensor order;  // i64 [n]: choices in the order in which they are served when slots are scarce
  Normalize normalize = Normalize::None;
  // Choices whose gate value is 0: they take their slots, but their rows need not travel.
  std::vector<int64_t> weightless = {};

  int64_t rows() const { return offsets.dim(0) - 1; }
  int64_t choices() const { return expert.numel(); }
};

inline int64_t chosen(int64_t expert) { return expert < 0 ? ~expert : expert; }
inline int64_t* ints(const Tensor& t) { return t.data<int64_t>(); }

// Draws that a test brings along; undefined = draw as usual.
inline Tensor injected(const std::string& name, DType dtype, const ForwardContext& ctx) {
  const bool given = ctx.injected && ctx.injected->count(ctx.site(name));
  return given ? ctx.injected->at(ctx.site(name)).to(dtype) : Tensor();
}

// Integer decisions go through the recorder, so that a checkpointed second pass replays them (and skips
// the collectives inside `made` on all ranks alike).
template <class F>
std::vector<int64_t> decide(ForwardContext& ctx, F&& made) {
  return ctx.recorder ? ctx.recorder->decide(std::forward<F>(made)) : made();
}

}  // namespace switchyard::moe
