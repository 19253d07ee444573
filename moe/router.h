// Router: rows -> Routing. Here the top-1 (Switch) and top-2 (GShard) softmax gates of specs/hmoe.md
// 2.1-2.4: p = softmax(x Wg^T) over the visible experts, then one or two choices for each row.
// Scores and probabilities stay on the device of the stream. The choices, their probabilities and the
// entropies come to the host, where routing and plan are made: that is an MoE layer's one read of the GPU.
// Read before: routing.h.
#pragma once
#include <limits>
#include <numeric>

#include "moe/routing.h"
#include "nn/layers.h"
#include "tensor/device.h"

namespace switchyard::moe {

struct Routed {
  Routing routing;
  Var probs;  // [S, visible]; column j is expert first_expert + j
  int64_t first_expert = 0;
  // Sum over rows of -sum p log p, nats; 0 where decisions are replayed
  double entropy = 0;
};

struct GateOptions {
  bool top1 = false;  // one choice instead of two
  // Of the second choice (specs/hmoe.md 2.3) in training and in evaluation: all, sampling or random
  std::string policy = "sampling", eval_policy = "all";
  bool normalize_before_drop = false;
  bool by_priority = false;  // batch-prioritised routing: higher max p is served first
  bool fp32 = false;         // scores in f32 even where the stream has another type
};

// e2 i64 [S, 1]: argmax of the scores, plus Gumbel noise under policy `sampling`, without column e1 [S, 1]
inline void second_choice(const Tensor& scores, const Tensor& e1, const std::string& policy,
                          const Tensor& token, ForwardContext& ctx, Tensor& e2) {
  Tensor masked = empty_like(scores);  // [S, visible]
  if (policy == "sampling") {
    Tensor noise = injected("gumbel", scores.dtype(), ctx);
    if (noise.defined()) {
      noise = noise.to(scores.device());
    } else {
      noise = empty_like(scores);
      random_gumbel(ctx.random("gumbel"), token, noise);
    }
    add(scores, noise, masked);
  } else {
    convert(scores, masked);
  }
  fill_columns(-std::numeric_limits<double>::infinity(), e1, masked);
  argmax_rows(masked, e2);
}

// What the host decides by.
struct Choices {
  Tensor column;  // i64 [k, S] of p: first and second choices
  Tensor prob;    // f64 [k, S] their p
  double entropy;
};
inline Choices choose(const Tensor& scores, const Tensor& p, int64_t k, const std::string& policy,
                      const Tensor& token, ForwardContext& ctx) {
  const int64_t S = p.dim(0);
  const Tensor column = Tensor::empty({k, S}, DType::I64, p.device());
  const Tensor prob = empty_like(p, {k, S});
  Tensor entropy = empty_like(p, {S});
  for (int64_t j = 0; j < k; ++j) {
    Tensor e = column.slice(j, j + 1).reshape({S, 1}), g = prob.slice(j, j + 1);
    if (j == 0) argmax_rows(p, e);
    else second_choice(scores, column.slice(0, 1).reshape({S, 1}), policy, token, ctx, e);
    gather_columns(p, e, g);
  }
  row_entropy(p, entropy);
  const std::vector<Tensor> host = to_host({column, prob, entropy});
  const std::vector<double> entropies = host[2].to(DType::F64).to_vector<double>();
  return {host[0], host[1].to(DType::F64),
          std::accumulate(entropies.begin(), entropies.end(), 0.0)};
}

// The gate on given scores. padding u8 [S] or undefined: such rows keep their p but are not served.
// token i64 [S]: position of each row in the micro-batch, which keys its random numbers
inline Routed top_k_gate(const Var& scores, int64_t first_expert, const GateOptions& options,
                         const Tensor& padding, const Tensor& token, ForwardContext& ctx) {
  const Var z = options.fp32 ? cast(scores, DType::F32) : scores;
  Routed out{.routing = {}, .probs = softmax(z), .first_expert = first_expert};
  const int64_t S = z.dim(0), visible = z.dim(1);
  const int64_t k =
      std::min<int64_t>(options.top1 ? 1 : 2, visible);  // a lone expert: no second choice
  const std::string& policy = ctx.training ? options.policy : options.eval_policy;

  // Decided once: the choices [S, k] (~e: not to be served), the serving order of the rows [S], and the
  // choices of probability 0.
  const std::vector<int64_t> decided = decide(ctx, [&] {
    const Choices c = choose(z.data(), out.probs.data(), k, policy, token, ctx);
    out.entropy = c.entropy;
    const int64_t* column = ints(c.column);
    const double* prob = c.prob.data<double>();
    std::vector<int64_t> d(S * k + S);
    for (int64_t j = 0; j < k; ++j)
      for (int64_t s = 0; s < S; ++s) d[s * k + j] = first_expert + column[j * S + s];
    for (int64_t i = 0; padding.defined() && i < S * k; ++i)
      if (padding.data<uint8_t>()[i / k]) d[i] = ~d[i];
    if (k == 2 && policy == "random") {  // a second choice is served with probability 2 g2
      const Tensor given_u = injected("second_u", DType::F64, ctx);
      const RandomStream stream = ctx.random("second_u");
      for (int64_t s = 0; s < S; ++s) {
        const double u = given_u.defined() ? given_u.data<double>()[s]
                                           : unit_float(random_bits(stream, ints(token)[s]));
        const double g1 = prob[s], g2 = prob[S + s];
        if (2 * g2 / (options.normalize_before_drop ? g1 + g2 : 1) <= u)
          d[s * k + 1] = ~chosen(d[s * k + 1]);
      }
    }
    const auto rows = d.begin() + S * k;
    std::iota(rows, d.end(), 0);
    if (options.by_priority)
      std::stable_sort(rows, d.end(), [&](int64_t a, int64_t b) { return prob[a] > prob[b]; });
    for (int64_t s = 0; s < S; ++s)
      for (int64_t j = 0; j < k; ++j)
        if (prob[j * S + s] == 0) d.push_back(s * k + j);
    return d;
  });

  Routing& r = out.routing;
  r.normalize = options.top1                    ? Normalize::None
                : options.normalize_before_drop ? Normalize::BeforeDrop
                                                : Normalize::AfterDrop;
  r.offsets = Tensor::empty({S + 1}, DType::I64);
  r.expert = Tensor::empty({S * k}, DType::I64);
  r.order = empty_like(r.expert);  // all first choices, then all second choices
  const Tensor column = empty_like(r.expert, {S, k});
  int64_t *offset = ints(r.offsets), *order = ints(r.order), *at = ints(column);
  for (int64_t s = 0; s <= S; ++s) offset[s] = s * k;
  std::copy_n(decided.begin(), S * k, ints(r.expert));
  for (int64_t i = 0; i < S * k; ++i) at[i] = chosen(decided[i]) - first_expert;
  for (int64_t j = 0; j < k; ++j)
    for (int64_t s = 0; s < S; ++s) order[j * S + s] = decided[S * k + s] * k + j;
  r.weightless.assign(decided.begin() + S * k + S, decided.end());
  r.gate = gather_columns(out.probs, column);
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
    const Var scores =
        linear(options_.fp32 ? cast(x, compute_type(x.data().dtype())) : x, weight.var);
    return top_k_gate(cast(scores, compute_type(scores.data().dtype())), first_expert_, options_,
                      {}, token, ctx);
  }
  void visit(ParamVisitor& v) override { v("weight", weight); }
  int64_t visible() const { return weight.var.dim(0); }

  Param weight;  // [visible, M]

 private:
  int64_t first_expert_;
  GateOptions options_;
};

}  // namespace switchyard::moe
