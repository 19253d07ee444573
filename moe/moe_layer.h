// MoeLayer: one set of experts and the way through it: plan -> dispatch -> experts -> combine. A method
// makes the routing and may run the same layer several times, once per round.
// Read before: routing.h, plan.h, exchange.h, experts.h.
#pragma once
#include "moe/experts.h"
#include "tensor/parallel.h"

namespace switchyard::moe {

// Output masking of x [n, M]: in training a row is kept when its draw u > rate, without rescaling; in evaluation
// every row is multiplied by 1 - rate. Not a dropout. Row i draws at element id[i] of the site `name`; a test's
// own draws are found at place[i].
inline Var mask_rows(const Var& x, double rate, const std::string& name, const Tensor& id,
                     const Tensor& place, ForwardContext& ctx) {
  if (rate == 0) return x;
  if (!ctx.training) return scale(x, 1 - rate);
  const Tensor given = injected(name, DType::F64, ctx);
  const RandomStream stream = ctx.random(name);
  const Tensor keep = Tensor::empty({x.dim(0)}, DType::U8);
  parallel_for(
      x.dim(0), 1024, [&, ids = ints(id), kept = keep.data<uint8_t>()](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const double u = given.defined() ? given.data<double>()[ints(place)[i]]
                                           : unit_float(random_bits(stream, uint64_t(ids[i])));
          kept[i] = u > rate;
        }
      });
  return scale_rows(x, Var(keep.to(x.data().device()).to(compute_type(x.data().dtype()))));
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
  const Tensor kept = Tensor::empty({routing.choices()}, DType::U8), &gate = routing.gate.data();
  std::transform(plan.slot.begin(), plan.slot.end(), kept.data<uint8_t>(),
                 [](int64_t slot) { return slot >= 0; });
  const Var mask(kept.to(gate.device()).to(gate.dtype()));
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
  int64_t chunks = 0;  // of the local experts, see exchange.h; 0: two where that overlaps
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
    Var weight;  // [n]
  };
  // x [S, M]; token i64 [S]: position of each row in the micro-batch, which keys its random numbers.
  Output run(const Var& x, const Routing& routing, int64_t capacity, const Tensor& token,
             ForwardContext& ctx) const {
    Output o;
    o.plan = make_plan(routing, num_experts_, capacity);
    o.weight = cast(combine_weights(routing, o.plan), compute_type(x.data().dtype()));
    for (int64_t i : routing.weightless) o.plan.slot[i] = -1;
    const bool local = stays_local(options_.local_drop, ctx);
    const Chunks chunks = cut(local, x.data().device());
    pack_rows(o.plan, routing, chunks);

    const Dispatched in = dispatch(x, o.plan, chunks, comm_, options_.exchange, local, ctx);
    std::vector<Var> served;
    for (int64_t c = 0; c < chunks.count; ++c)
      served.push_back(
          send_back(experts_.forward(arrive(in, c), in.journey->trips[c], ctx), in, c));
    Var back = combine(served, in);  // [m, M]
    // Of back's rows: (token, choice) and (expert, slot)
    const Tensor id = Tensor::empty({back.dim(0)}, DType::I64), slot = empty_like(id);
    const int64_t *position = ints(token), *offsets = ints(routing.offsets),
                  *expert = ints(routing.expert), *row_token = ints(o.plan.token),
                  *row_choice = ints(o.plan.choice);
    int64_t *ids = ints(id), *slots = ints(slot);
    for (int64_t row = 0; row < back.dim(0); ++row) {
      const int64_t s = row_token[row], i = row_choice[row];
      ids[row] = position[s] * num_experts_ + i - offsets[s];
      slots[row] = expert[i] * capacity + o.plan.slot[i];
    }
    if (ctx.training) back = dropout(back, options_.dropout, ctx.random("dropout"), id);
    back = mask_rows(back, options_.eom, "eom", id, slot, ctx);
    o.out = combine_rows(back, routing.offsets, o.plan.position, o.weight);
    o.out = mask_rows(o.out, options_.fom, "fom", token, token, ctx);
    return o;
  }

  void visit(ParamVisitor& v) override { v("experts", experts_); }

 private:
  Chunks cut(bool local, Device device) const {
    const int64_t members = comm_.size(), experts = num_experts_ / members;
    const int64_t best = comm_.exchange_overlaps(device, options_.exchange) ? 2 : 1;
    const int64_t wanted = local ? 1 : options_.chunks ? options_.chunks : best;
    return {members, experts, std::min(wanted, experts)};
  }

  dist::Comm comm_;
  MoeOptions options_;
  int64_t num_experts_;
  Experts experts_;
};

}  // namespace switchyard::moe
