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
    Tensor noise;
    if (ctx.injected && ctx.injected->count(ctx.site("gumbel"))) {
      noise = ctx.injected->at(ctx.site("gumbel")).to(scores.dtype());
    } else {
      noise = empty_like(scores);
      random_gumbel(ctx.random("gumbel"), token, noise);
    }
    add(scores, noise, masked);
  }
  const Tensor minus_inf =
      Tensor::full({e1.numel()}, -std::numeric_limits<double>::infinity(), scores.dtype());
  Tensor rows = Tensor::empty({e1.numel()}, DType::I64);
  std::iota(rows.data<int64_t>(), rows.data<int64_t>() + rows.numel(), 0);
  scatter_add_elements(minus_inf, rows, e1, masked);
  Tensor e2 = Tensor::empty({e1.numel()}, DType::I64);
  argmax_rows(masked, e2);
  return e2;
}

// Uniform numbers of policy `random`, one for each row.
std::vector<double> uniform_by_token(const Tensor& token, ForwardContext& ctx) {
  const std::string site = ctx.site("second_u");
  if (ctx.injected && ctx.injected->count(site))
    return ctx.injected->at(site).to(DType::F64).to_vector<double>();
  const RandomStream r = ctx.random("second_u");
  std::vector<double> u;
  for (int64_t t : token.to_vector<int64_t>()) u.push_back(unit_float(random_bits(r, t)));
  return u;
}

}  // namespace

Routed top_k_gate(const Var& scores, int64_t first_expert, const GateOptions& options,
                  const Tensor& padding, const Tensor& token, ForwardContext& ctx) {
  const Var z =
      options.fp32 && scores.data().dtype() != DType::F32 ? cast(scores, DType::F32) : scores;
  Routed out;
  out.probs = softmax(z);
  const Tensor& p = out.probs.data();
  const int64_t S = p.dim(0), visible = p.dim(1);
  const int64_t k =
      std::min<int64_t>(options.top_k, visible);  // a lone expert has no second choice
  const SecondPolicy policy = ctx.training ? options.policy : options.eval_policy;

  // Decided once: the choices [S, k] (~e: not to be served), then the serving order of the rows [S].
  const std::vector<int64_t> decided = decide(ctx, [&] {
    std::vector<int64_t> d(S * k + S);
    Tensor e1 = Tensor::empty({S}, DType::I64);
    argmax_rows(p, e1);
    Tensor e2 = k == 2 ? second_choice(z.data(), e1, policy, token, ctx) : Tensor();
    const std::vector<double> u = k == 2 && policy == SecondPolicy::Random
                                      ? uniform_by_token(token, ctx)
                                      : std::vector<double>();
    std::vector<double> top(S);
    FLOAT_DISPATCH(p.dtype(), T, {
      for (int64_t s = 0; s < S; ++s) {
        const int64_t a = e1.data<int64_t>()[s], b = k == 2 ? e2.data<int64_t>()[s] : -1;
        const T* row = p.data<T>() + s * visible;
        const bool pad = padding.defined() && padding.data<uint8_t>()[s];
        top[s] = row[a];
        d[s * k] = pad ? ~(first_expert + a) : first_expert + a;
        if (k == 1) continue;
        T g2 = row[b];
        if (options.normalize_before_drop)
          g2 /= std::max(row[a] + g2, std::numeric_limits<T>::epsilon());
        const bool thinned = !u.empty() && !(2 * g2 > T(u[s]));
        d[s * k + 1] = pad || thinned ? ~(first_expert + b) : first_expert + b;
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
  for (int64_t s = 0; s <= S; ++s) r.offsets.data<int64_t>()[s] = s * k;
  r.expert = Tensor::of(std::vector<int64_t>(decided.begin(), decided.begin() + S * k), {S * k});
  r.order = Tensor::empty({S * k}, DType::I64);  // all first choices, then all second choices
  Tensor row = Tensor::empty({S * k}, DType::I64), column = Tensor::empty({S * k}, DType::I64);
  for (int64_t i = 0; i < S * k; ++i) {
    r.order.data<int64_t>()[i] = decided[S * k + i % S] * k + i / S;
    row.data<int64_t>()[i] = i / k;
    column.data<int64_t>()[i] = chosen(decided[i]) - first_expert;
  }
  r.gate = gather_elements(out.probs, row, column);
  return out;
}

Routed TopKGate::route(const Var& x, const Tensor& token, ForwardContext& ctx) {
  return top_k_gate(linear(x, weight.var), first_expert_, options_, {}, token, ctx);
}

}  // namespace switchyard::moe
