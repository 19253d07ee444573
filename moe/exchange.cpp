#include "moe/exchange.h"

#include "autograd/ops.h"

namespace switchyard::moe {
namespace {

Tensor permuted(const Tensor& x, const Tensor& index) {
  Tensor y = Tensor::empty({index.numel(), x.dim(1)}, x.dtype());
  gather_rows(x, index, y);
  return y;
}

Tensor travel(const Tensor& x, const Trip& t, bool outward) {
  const int64_t slots = t.capacity * t.local_experts();
  if (outward) return permuted(t.comm.all_to_all_v(x, t.send, t.recv, t.mode, slots), t.by_expert);
  return t.comm.all_to_all_v(permuted(x, t.by_arrival), t.recv, t.send, t.mode, slots);
}

// A permutation of the rows of all ranks: its adjoint is the way back. Always runs in backward: a rank
// whose rows got no gradient still carries those of the others.
Var travel(const Var& x, const std::shared_ptr<const Trip>& trip, bool outward) {
  return make_node(
      outward ? "dispatch" : "combine", travel(x.data(), *trip, outward), {x},
      [trip, outward](const Tensor& dy) -> Grads { return {travel(dy, *trip, !outward)}; },
      {.always_run = true});
}

}  // namespace

Dispatched dispatch(const Var& x, const DispatchPlan& plan, const dist::Comm& comm,
                    dist::ExchangeMode mode, ForwardContext& ctx) {
  const int64_t members = comm.size(), local = int64_t(plan.kept.size()) / members;
  check(local * members == int64_t(plan.kept.size()),
        concat("dispatch: ", plan.kept.size(), " experts on ", members, " ranks"));
  auto trip = std::make_shared<Trip>();
  trip->comm = comm, trip->mode = mode, trip->capacity = plan.capacity;
  trip->counts = decide(ctx, [&] { return comm.all_to_all_counts(plan.kept); });
  trip->send.assign(members, 0), trip->recv.assign(members, 0);
  for (int64_t i = 0; i < members * local; ++i) {
    trip->send[i / local] += plan.kept[i];
    trip->recv[i / local] += trip->counts[i];
  }

  Dispatched in;
  int64_t rows = 0;
  in.offsets = Tensor::zeros({local + 1}, DType::I64);
  std::vector<int64_t> arrival(members *
                               local);  // first row of (source, expert) in order of arrival
  for (int64_t i = 0; i < members * local; ++i) {
    arrival[i] = rows;
    rows += trip->counts[i];
    in.offsets.data<int64_t>()[i % local + 1] += trip->counts[i];
  }
  trip->by_expert = Tensor::empty({rows}, DType::I64);
  trip->by_arrival = Tensor::empty({rows}, DType::I64);
  int64_t row = 0;
  for (int64_t e = 0; e < local; ++e) {
    in.offsets.data<int64_t>()[e + 1] += in.offsets.data<int64_t>()[e];
    for (int64_t source = 0; source < members; ++source)
      for (int64_t j = 0, i = source * local + e; j < trip->counts[i]; ++j, ++row) {
        trip->by_expert.data<int64_t>()[row] = arrival[i] + j;
        trip->by_arrival.data<int64_t>()[arrival[i] + j] = row;
      }
  }
  in.trip = trip;
  in.rows = travel(gather_rows(x, plan.token), trip, true);
  return in;
}

Var combine(const Var& out, const Dispatched& in) { return travel(out, in.trip, false); }

Tensor Dispatched::row_ids(int64_t first_expert) const {
  const int64_t local = trip->local_experts(), members = trip->comm.size();
  Tensor ids = Tensor::empty({rows.dim(0)}, DType::I64);
  int64_t row = 0;
  for (int64_t e = 0; e < local; ++e)
    for (int64_t source = 0; source < members; ++source)
      for (int64_t slot = 0; slot < trip->counts[source * local + e]; ++slot)
        ids.data<int64_t>()[row++] =
            ((first_expert + e) * members + source) * trip->capacity + slot;
  return ids;
}

}  // namespace switchyard::moe
