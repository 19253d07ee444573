// MoeLayer: one set of experts and the way through it: plan -> dispatch -> experts -> combine. A method
// makes the routing and may run the same layer several times, once per round.
// Read before: routing.h, plan.h, exchange.h, experts.h.
#pragma once
#include <limits>

#include "moe/experts.h"

namespace switchyard::moe {

// w_i = g_i / d,  d = max(sum of g_j over the choices of i's token, epsilon)
// dg_i = (dw_i - sum_j dw_j w_j) / d;  the sum is absent where epsilon took over
inline Var normalize(const Var& gate, const Tensor& offsets) {
  const Tensor& g = gate.data();
  Tensor w = empty_like(g), d = Tensor::empty({offsets.dim(0) - 1}, g.dtype());
  FLOAT_DISPATCH(g.dtype(), T, {
    for (int64_t s = 0; s < d.numel(); ++s) {
      const int64_t begin = ints(offsets)[s], end = ints(offsets)[s + 1];
      T total = 0;
      for (int64_t i = begin; i < end; ++i) total += g.data<T>()[i];
      d.data<T>()[s] = std::max(total, std::numeric_limits<T>::epsilon());
      for (int64_t i = begin; i < end; ++i) w.data<T>()[i] = g.data<T>()[i] / d.data<T>()[s];
    }
  });
  return make_node("normalize", w, {gate}, [w, d, offsets](const Tensor& dw) -> Grads {
    Tensor dg = empty_like(w);
    FLOAT_DISPATCH(w.dtype(), T, {
      for (int64_t s = 0; s < d.numel(); ++s) {
        const int64_t begin = ints(offsets)[s], end = ints(offsets)[s + 1];
        const T divisor = d.data<T>()[s];
        T through = 0;
        if (divisor > std::numeric_limits<T>::epsilon())
          for (int64_t i = begin; i < end; ++i) through += dw.data<T>()[i] * w.data<T>()[i];
        for (int64_t i = begin; i < end; ++i)
          dg.data<T>()[i] = (dw.data<T>()[i] - through) / divisor;
      }
    });
    return {dg};
  });
}

// Output masking of x [n, M]: in training a row is kept when its draw u > rate, without rescaling; in evaluation
// every row is multiplied by 1 - rate. Not a dropout. Row i draws at element id[i] of the site `name`; a test's
// own draws are found at place[i].
inline Var mask_rows(const Var& x, double rate, const std::string& name, const Tensor& id,
                     const Tensor& place, ForwardContext& ctx) {
  if (rate == 0) return x;
  if (!ctx.training) return scale(x, 1 - rate);
  const Tensor given = injected(name, DType::F64, ctx);
  const RandomStream stream = ctx.random(name);
  std::vector<double> keep;  // [n]
  for (int64_t i = 0; i < x.dim(0); ++i) {
    const double u = given.defined() ? given.data<double>()[ints(place)[i]]
                                     : unit_float(random_bits(stream, uint64_t(ints(id)[i])));
    keep.push_back(u > rate);
  }
  return scale_rows(x, Var(Tensor::of(keep).to(x.data().dtype()).to(x.data().device())));
}

// All ranks draw the same number: they skip the exchange together.
inline bool stays_local(double rate, const ForwardContext& ctx) {
  if (!ctx.training || rate == 0) return false;
  const RandomStream stream =
      random_stream(ctx.seed, ctx.site("local_drop"), ctx.update, ctx.micro_batch);
  return unit_float(random_bits(stream, 0)) < rate;
}

// Final weights, once it is known what was dropped (specs/hmoe.md 2.3, steps 3 and 8): gate values of
// surviving choices, divided by max(sum over the token's choices, epsilon) before or after dropping. [n], 0 = dropped
inline Var combine_weights(const Routing& routing, const DispatchPlan& plan) {
  std::vector<double> kept;
  for (int64_t slot : plan.slot) kept.push_back(slot >= 0);
  const Var mask(Tensor::of(kept).to(routing.gate.data().dtype()));
  if (routing.normalize == Normalize::AfterDrop)
    return normalize(mul(routing.gate, mask), routing.offsets);
  if (routing.normalize == Normalize::BeforeDrop)
    return mul(normalize(routing.gate, routing.offsets), mask);
  return mul(routing.gate, mask);
}

struct MoeOptions {
  // What thins the experts' outputs at their token's owner. Masking (EOM, FOM: Elbayad et al. 2022;
  // specs/hmoe.md 2.9): of a choice's output, and of a token's weighted sum.
  double dropout = 0, eom = 0, fom = 0;
  double local_drop = 0;  // probability that a training round is served without exchange
  dist::ExchangeMode exchange = dist::ExchangeMode::Rows;
};

class MoeLayer : public Module {
 public:
  MoeLayer(const dist::Mesh& mesh, const FeedForwardOptions& ffn, const MoeOptions& options)
      : comm_(mesh.expert),
        options_(options),
        num_experts_(mesh.layout.num_experts),
        experts_(mesh.layout, mesh.world.rank(), ffn) {}

  struct Output {
    Var out;  // [S, M]: weighted sum over each row's surviving choices; 0 for a row without any
    DispatchPlan plan;
    Var weight;  // [n], on the host
  };
  // x [S, M]; token i64 [S]: position of each row in the micro-batch, which keys its random numbers.
  Output run(const Var& x, const Routing& routing, int64_t capacity, const Tensor& token,
             ForwardContext& ctx) const {
    Output o;
    o.plan = make_plan(routing, num_experts_, capacity);
    o.weight = cast(combine_weights(routing, o.plan), x.data().dtype());
    const Tensor weight = o.weight.data().to(DType::F64);
    for (int64_t i = 0; i < routing.choices(); ++i)  // a row of weight zero need not travel
      if (weight.data<double>()[i] == 0) o.plan.slot[i] = -1;
    pack_rows(o.plan, routing);

    const Dispatched in =
        dispatch(x, o.plan, comm_, options_.exchange, stays_local(options_.local_drop, ctx), ctx);
    Var back = combine(experts_.forward(in, ctx), in);  // [m, M]
    std::vector<int64_t> ids, slots;  // of back's rows: (token, choice) and (expert, slot)
    for (int64_t row = 0; row < back.dim(0); ++row) {
      const int64_t s = ints(o.plan.token)[row], i = ints(o.plan.choice)[row];
      ids.push_back(ints(token)[s] * num_experts_ + i - ints(routing.offsets)[s]);
      slots.push_back(ints(routing.expert)[i] * capacity + o.plan.slot[i]);
    }
    const Tensor id = Tensor::of(ids);
    if (ctx.training) back = dropout(back, options_.dropout, ctx.random("dropout"), id);
    back = mask_rows(back, options_.eom, "eom", id, Tensor::of(slots), ctx);
    o.out = combine_rows(back, routing.offsets, o.plan.position,
                         move_to(o.weight, back.data().device()));
    o.out = mask_rows(o.out, options_.fom, "fom", token, token, ctx);
    return o;
  }

  void visit(ParamVisitor& v) override { v("experts", experts_); }

 private:
  dist::Comm comm_;
  MoeOptions options_;
  int64_t num_experts_;
  Experts experts_;
};

}  // namespace switchyard::moe
