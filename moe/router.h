// Router: rows -> Routing. Here the top-1 (Switch) and top-2 (GShard) softmax gates of specs/hmoe.md
// 2.1-2.4: p = softmax(x Wg^T) over the visible experts, then one or two choices for each row.
// Read before: routing.h.
#pragma once
#include "moe/routing.h"
#include "nn/layers.h"

namespace switchyard::moe {

struct Routed {
  Routing routing;
  Var probs;  // [S, visible]; column j is expert first_expert + j
  int64_t first_expert = 0;
};

enum class SecondPolicy { All, Sampling, Random };  // of the second choice: specs/hmoe.md 2.3

struct GateOptions {
  int top_k = 2;  // 1 or 2
  SecondPolicy policy = SecondPolicy::Sampling, eval_policy = SecondPolicy::All;
  bool normalize_before_drop = false;
  bool by_priority = false;  // batch-prioritised routing: higher max p is served first
  bool fp32 = false;         // scores in f32 even when the model computes in another type
};

// The gate on given scores. padding u8 [S] or undefined: such rows keep their p but are not served.
// token i64 [S]: position of each row in the micro-batch, which keys its random numbers
Routed top_k_gate(const Var& scores, int64_t first_expert, const GateOptions& options,
                  const Tensor& padding, const Tensor& token, ForwardContext& ctx);

// A linear gate without bias that sees `visible` experts from `first_expert` on.
class TopKGate : public Module {
 public:
  TopKGate(int64_t width, int64_t first_expert, int64_t visible, const GateOptions& options,
           DType dtype)
      : weight(make_param({visible, width}, fan_in_uniform(width), dtype)),
        first_expert_(first_expert),
        options_(options) {}
  Routed route(const Var& x, const Tensor& token, ForwardContext& ctx) const {  // x [S, M]
    return top_k_gate(linear(x, weight.var), first_expert_, options_, {}, token, ctx);
  }
  void visit(ParamVisitor& v) override { v("weight", weight); }
  int64_t visible() const { return weight.var.dim(0); }

  Param weight;  // [visible, M]

 private:
  int64_t first_expert_;
  GateOptions options_;
};

}  // namespace switchyard::moe
