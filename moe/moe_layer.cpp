#include "moe/moe_layer.h"

#include <limits>

#include "autograd/ops.h"

namespace switchyard::moe {
namespace {

// w_i = g_i k_i / d,  d = max(sum of g_j k_j over the choices of i's token, epsilon)
// dg_i = k_i (dw_i - sum_j dw_j w_j) / d;  the sum is absent where epsilon took over
Var normalize(const Var& gate, const Tensor& offsets, const std::vector<bool>& keep) {
  const Tensor& g = gate.data();
  const int64_t S = offsets.dim(0) - 1;
  Tensor w = empty_like(g), d = Tensor::empty({S}, g.dtype());
  FLOAT_DISPATCH(g.dtype(), T, {
    for (int64_t s = 0; s < S; ++s) {
      const int64_t begin = offsets.data<int64_t>()[s], end = offsets.data<int64_t>()[s + 1];
      T total = 0;
      for (int64_t i = begin; i < end; ++i) total += keep[i] ? g.data<T>()[i] : T(0);
      const T divisor = std::max(total, std::numeric_limits<T>::epsilon());
      for (int64_t i = begin; i < end; ++i)
        w.data<T>()[i] = keep[i] ? g.data<T>()[i] / divisor : T(0);
      d.data<T>()[s] =
          total >= divisor ? divisor : -divisor;  // the sign tells backward which branch it was
    }
  });
  return make_node("normalize", w, {gate}, [w, d, offsets, keep](const Tensor& dw) -> Grads {
    Tensor dg = empty_like(w);
    FLOAT_DISPATCH(w.dtype(), T, {
      for (int64_t s = 0; s < d.numel(); ++s) {
        const int64_t begin = offsets.data<int64_t>()[s], end = offsets.data<int64_t>()[s + 1];
        const T divisor = d.data<T>()[s];
        T through = 0;
        if (divisor > 0)
          for (int64_t i = begin; i < end; ++i) through += dw.data<T>()[i] * w.data<T>()[i];
        for (int64_t i = begin; i < end; ++i)
          dg.data<T>()[i] = keep[i] ? (dw.data<T>()[i] - through) / std::abs(divisor) : T(0);
      }
    });
    return {dg};
  });
}

}  // namespace

Var combine_weights(const Routing& routing, const DispatchPlan& plan) {
  const int64_t n = routing.choices();
  std::vector<bool> keep(n);
  std::vector<double> mask(n);
  for (int64_t i = 0; i < n; ++i) keep[i] = plan.slot[i] >= 0, mask[i] = keep[i];
  if (routing.normalize == Normalize::AfterDrop)
    return normalize(routing.gate, routing.offsets, keep);
  const Var gate = routing.normalize == Normalize::BeforeDrop
                       ? normalize(routing.gate, routing.offsets, std::vector<bool>(n, true))
                       : routing.gate;
  return mul(gate, Var(Tensor::of(mask, {n}).to(gate.data().dtype())));
}

MoeLayer::Output MoeLayer::run(const Var& x, const Routing& routing, int64_t capacity,
                               const Tensor& token, ForwardContext& ctx) const {
  Output o;
  o.plan = make_plan(routing, num_experts_, capacity);
  o.weight = combine_weights(routing, o.plan);
  if (o.weight.data().dtype() != x.data().dtype()) o.weight = cast(o.weight, x.data().dtype());
  std::vector<bool> zero(
      routing.choices());  // a weight of exactly zero keeps its slot but need not travel
  FLOAT_DISPATCH(x.data().dtype(), T, {
    for (size_t i = 0; i < zero.size(); ++i) zero[i] = o.weight.data().data<T>()[i] == 0;
  });
  drop_choices(o.plan, routing, zero);

  const Dispatched in = dispatch(x, o.plan, comm_, mode_, ctx);
  Var back = combine(experts_.forward(in, ctx), in);  // [m, M]
  if (ctx.training &&
      dropout_ > 0) {  // the experts' own output dropout, drawn by the tokens' owner
    Tensor ids = Tensor::empty({o.plan.token.numel()}, DType::I64);
    for (int64_t i = 0; i < ids.numel(); ++i)
      ids.data<int64_t>()[i] =
          token.data<int64_t>()[o.plan.token.data<int64_t>()[i]] * num_experts_ +
          o.plan.choice.data<int64_t>()[i];
    back = dropout(back, dropout_, ctx.random("dropout"), ids);
  }
  o.out = combine_rows(back, routing.offsets, o.plan.position, o.weight);
  return o;
}

}  // namespace switchyard::moe
