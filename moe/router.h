// Router: rows -> Routing. Here the top-1 (Switch) and top-2 (GShard) softmax gates of specs/hmoe.md
// 2.1-2.4: p = softmax(x Wg^T) over the visible experts, then one or two choices for each row.
// The scores [S, visible] come to the host: routing, plan and the small numbers they need are made there, and
// the weights of the choices return to the device of the stream. That is an MoE layer's one read of the GPU.
// Read before: routing.h.
#pragma once
#include <limits>
#include <numeric>

#include "moe/routing.h"
#include "nn/layers.h"

namespace switchyard::moe {

struct Routed {
  Routing routing;
  Var probs;  // [S, visible]; column j is expert first_expert + j
  int64_t first_expert = 0;
};

struct GateOptions {
  bool top1 = false;  // one choice instead of two
  // Of the second choice (specs/hmoe.md 2.3) in training and in evaluation: all, sampling or random
  std::string policy = "sampling", eval_policy = "all";
  bool normalize_before_drop = false;
  bool by_priority = false;  // batch-prioritised routing: higher max p is served first
  bool fp32 = false;         // scores in f32 even when the model computes in another type
};

// The second choice: argmax of the scores, plus Gumbel noise under policy `sampling`, without column e1.
inline Tensor second_choice(const Tensor& scores, const Tensor& e1, const std::string& policy,
                            const Tensor& token, ForwardContext& ctx) {
  Tensor masked = scores.clone();  // [S, visible]
  if (policy == "sampling") {
    Tensor noise = injected("gumbel", scores.dtype(), ctx);
    if (!noise.defined()) {
      noise = empty_like(scores);
      random_gumbel(ctx.random("gumbel"), token, noise);
    }
    add(scores, noise, masked);
  }
  FLOAT_DISPATCH(masked.dtype(), T, {
    for (int64_t s = 0; s < masked.dim(0); ++s)
      masked.data<T>()[s * masked.dim(1) + ints(e1)[s]] = -std::numeric_limits<T>::infinity();
  });
  Tensor e2 = empty_like(e1);
  argmax_rows(masked, e2);
  return e2;
}

// The gate on given scores. padding u8 [S] or undefined: such rows keep their p but are not served.
// token i64 [S]: position of each row in the micro-batch, which keys its random numbers
inline Routed top_k_gate(const Var& scores, int64_t first_expert, const GateOptions& options,
                         const Tensor& padding, const Tensor& token, ForwardContext& ctx) {
  const Var z = options.fp32 ? cast(scores, DType::F32) : scores;
  Routed out{.routing = {}, .probs = softmax(z), .first_expert = first_expert};
  const Tensor& p = out.probs.data();
  const int64_t S = p.dim(0), visible = p.dim(1);
  const int64_t k =
      std::min<int64_t>(options.top1 ? 1 : 2, visible);  // a lone expert: no second choice
  const std::string& policy = ctx.training ? options.policy : options.eval_policy;
  const RandomStream stream = ctx.random("second_u");

  // Decided once: the choices [S, k] (~e: not to be served), then the serving order of the rows [S].
  const std::vector<int64_t> decided = decide(ctx, [&] {
    Tensor e[2] = {Tensor::empty({S}, DType::I64), {}};  // first and second choices, columns of p
    argmax_rows(p, e[0]);
    if (k == 2) e[1] = second_choice(z.data(), e[0], policy, token, ctx);
    const Tensor probs = p.to(DType::F64), given_u = injected("second_u", DType::F64, ctx);
    const auto prob = [&](int64_t s, int j) {
      return probs.data<double>()[s * visible + ints(e[j])[s]];
    };
    const auto lost = [&](int64_t s) {  // policy random: a second choice that is not drawn
      const double u = given_u.defined() ? given_u.data<double>()[s]
                                         : unit_float(random_bits(stream, ints(token)[s]));
      const double g1 = prob(s, 0), g2 = prob(s, 1);
      return 2 * g2 / (options.normalize_before_drop ? g1 + g2 : 1) <= u;
    };
    std::vector<int64_t> d;
    for (int64_t s = 0; s < S; ++s)
      for (int j = 0; j < k; ++j) {
        const bool served = !(padding.defined() && padding.data<uint8_t>()[s]) &&
                            !(j == 1 && policy == "random" && lost(s));
        const int64_t expert = first_expert + ints(e[j])[s];
        d.push_back(served ? expert : ~expert);
      }
    d.resize(S * k + S);
    const auto rows = d.begin() + S * k;
    std::iota(rows, d.end(), 0);
    if (options.by_priority)
      std::stable_sort(rows, d.end(),
                       [&](int64_t a, int64_t b) { return prob(a, 0) > prob(b, 0); });
    return d;
  });

  Routing& r = out.routing;
  r.normalize = options.top1                    ? Normalize::None
                : options.normalize_before_drop ? Normalize::BeforeDrop
                                                : Normalize::AfterDrop;
  r.offsets = Tensor::empty({S + 1}, DType::I64);
  for (int64_t s = 0; s <= S; ++s) ints(r.offsets)[s] = s * k;
  r.expert = Tensor::of(std::vector<int64_t>(decided.begin(), decided.begin() + S * k));
  r.order = empty_like(r.expert);  // all first choices, then all second choices
  Tensor row = empty_like(r.expert), column = empty_like(r.expert);
  for (int64_t i = 0; i < S * k; ++i) {
    ints(r.order)[i] = decided[S * k + i % S] * k + i / S;
    ints(row)[i] = i / k;
    ints(column)[i] = chosen(decided[i]) - first_expert;
  }
  r.gate = gather_elements(out.probs, row, column);
  return out;
}

// A linear gate without bias that sees `visible` experts from `first_expert` on.
class TopKGate : public Module {
 public:
  TopKGate(int64_t width, int64_t first_expert, int64_t visible, const GateOptions& options,
           DType dtype)
      : weight(make_param({visible, width}, fan_in_uniform(width), dtype)),
        first_expert_(first_expert),
        options_(options) {}
  Routed route(const Var& x, const Tensor& token, ForwardContext& ctx) const {  // x [S, M]
    const Var scores = move_to(linear(x, weight.var), Device::CPU);
    return top_k_gate(scores, first_expert_, options_, {}, token, ctx);
  }
  void visit(ParamVisitor& v) override { v("weight", weight); }
  int64_t visible() const { return weight.var.dim(0); }

  Param weight;  // [visible, M]

 private:
  int64_t first_expert_;
  GateOptions options_;
};

}  // namespace switchyard::moe
