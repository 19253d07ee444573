#include "moe/router.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "autograd/ops.h"

namespace switchyard::moe {
namespace {

// The second choice: argmax of the scores, plus Gumbel noise under policy `sampling`, without column e1.
Tensor second_choice(const Tensor& scores, const Tensor& e1, SecondPolicy policy,
                     const Tensor& token, ForwardContext& ctx) {
  Tensor masked = scores.clone();  // [S, visible]
  if (policy == SecondPolicy::Sampling) {
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

}  // namespace

Routed top_k_gate(const Var& scores, int64_t first_expert, const GateOptions& options,
                  const Tensor& padding, const Tensor& token, ForwardContext& ctx) {
  const Var z = options.fp32 ? cast(scores, DType::F32) : scores;
  Routed out{.routing = {}, .probs = softmax(z), .first_expert = first_expert};
  const Tensor& p = out.probs.data();
  const int64_t S = p.dim(0), visible = p.dim(1);
  const int64_t k = std::min<int64_t>(options.top_k, visible);  // a lone expert: no second choice
  const SecondPolicy policy = ctx.training ? options.policy : options.eval_policy;

  // Decided once: the choices [S, k] (~e: not to be served), then the serving order of the rows [S].
  const std::vector<int64_t> decided = decide(ctx, [&] {
    std::vector<int64_t> d(S * k + S);
    std::vector<double> top(S);
    Tensor e1 = Tensor::empty({S}, DType::I64), e2;
    argmax_rows(p, e1);
    if (k == 2) e2 = second_choice(z.data(), e1, policy, token, ctx);
    const Tensor given_u = injected("second_u", DType::F64, ctx);
    const RandomStream stream = ctx.random("second_u");
    FLOAT_DISPATCH(p.dtype(), T, {
      for (int64_t s = 0; s < S; ++s) {
        const T* row = p.data<T>() + s * visible;
        const bool pad = padding.defined() && padding.data<uint8_t>()[s];
        const int64_t a = ints(e1)[s];
        top[s] = row[a];
        d[s * k] = pad ? ~(first_expert + a) : first_expert + a;
        if (k == 1) continue;
        const int64_t b = ints(e2)[s];
        T g2 = row[b];
        if (options.normalize_before_drop)
          g2 /= std::max(row[a] + g2, std::numeric_limits<T>::epsilon());
        bool served = !pad;
        if (policy == SecondPolicy::Random)
          served &=
              2 * g2 > (given_u.defined() ? T(given_u.data<double>()[s])
                                          : T(unit_float(random_bits(stream, ints(token)[s]))));
        d[s * k + 1] = served ? first_expert + b : ~(first_expert + b);
      }
    });
    const auto rows = d.begin() + S * k;
    std::iota(rows, d.end(), 0);
    if (options.by_priority)
      std::stable_sort(rows, d.end(), [&](int64_t a, int64_t b) { return top[a] > top[b]; });
    return d;
  });

  Routing& r = out.routing;
  r.normalize = options.top_k == 1              ? Normalize::None
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

Routed TopKGate::route(const Var& x, const Tensor& token, ForwardContext& ctx) const {
  return top_k_gate(linear(x, weight.var), first_expert_, options_, {}, token, ctx);
}

}  // namespace switchyard::moe
