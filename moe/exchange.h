// Exchange: rows travel to the ranks that hold their experts and back. dispatch() and combine() are
// differentiable and adjoint to each other; each is one all_to_all_v. Counts travel first, so only real
// rows do; `Padded` moves `capacity` slots for each expert, as the references do, with the same result.
// Every rank of the group joins, with zero rows if need be, in backward too. Read before: plan.h.
#pragma once
#include "autograd/ops.h"
#include "dist/mesh.h"
#include "moe/plan.h"

namespace switchyard::moe {

// The way of one dispatch, kept for the way back.
struct Trip {
  dist::Comm comm;
  dist::ExchangeMode mode;
  bool local;     // no exchange: the experts at hand serve the rows of all experts
  int64_t slots;  // of a rank's experts, for Padded
  std::vector<int64_t> send, recv;  // rows to and from each member
  // i64 [R], where the rows are: arrival of the i-th expert-sorted row, and the inverse. A lone rank has none.
  Tensor by_expert, by_arrival;
};

struct Dispatched {
  Var rows;        // [R, M] sorted by local expert, then source rank, then slot
  Tensor offsets;  // i64 [E_local+1]: rows of each local expert
  Tensor ids;      // i64 [R]: (expert, source rank, slot) as one number; keys random numbers
  std::shared_ptr<const Trip> trip;
};

inline Tensor travel(const Tensor& x, const Trip& t, bool outward) {
  if (t.comm.size() == 1) return x;  // sorted by expert, and at home
  const auto exchange = [&t](const Tensor& rows, const auto& send, const auto& recv) {
    return t.local ? rows : t.comm.all_to_all_v(rows, send, recv, t.mode, t.slots);
  };
  if (outward) return gathered(exchange(x, t.send, t.recv), t.by_expert);
  return exchange(gathered(x, t.by_arrival), t.recv, t.send);
}

// A permutation of the rows of all ranks: its adjoint is the way back. Always runs in backward: a rank
// whose rows got no gradient still carries those of the others.
inline Var travel(const Var& x, const std::shared_ptr<const Trip>& trip, bool outward) {
  return make_node(
      outward ? "dispatch" : "combine", travel(x.data(), *trip, outward), {x},
      [trip, outward](const Tensor& dy) -> Grads { return {travel(dy, *trip, !outward)}; },
      /*always_run=*/true);
}

// local: rows stay on their rank, where local expert j stands for expert j of every rank.
inline Dispatched dispatch(const Var& x, const DispatchPlan& plan, const dist::Comm& comm,
                           dist::ExchangeMode mode, bool local, ForwardContext& ctx) {
  const int64_t members = comm.size(), experts = int64_t(plan.kept.size()) / members;
  // Rows from each member for each expert held here, in this order they arrive: [members * experts]
  const std::vector<int64_t> counts =
      decide(ctx, [&] { return local ? plan.kept : comm.all_to_all_counts(plan.kept); });
  std::vector<int64_t> start(counts.size()), send(members), recv(members);
  std::exclusive_scan(counts.begin(), counts.end(), start.begin(), int64_t(0));
  for (int64_t i = 0; i < members * experts; ++i) {
    send[i / experts] += plan.kept[i];
    recv[i / experts] += counts[i];
  }
  const int64_t rows = start.back() + counts.back();
  const Tensor offsets = Tensor::empty({experts + 1}, DType::I64);
  const Tensor ids = Tensor::empty({rows}, DType::I64), by_expert = empty_like(ids),
               by_arrival = empty_like(ids);
  int64_t row = 0;
  for (int64_t e = 0; e < experts; ++e) {
    ints(offsets)[e] = row;
    for (int64_t source = 0; source < members; ++source) {
      const int64_t i = source * experts + e;
      const int64_t first = ((comm.rank() * experts + e) * members + source) * plan.capacity;
      std::iota(ints(ids) + row, ints(ids) + row + counts[i], first);
      std::iota(ints(by_expert) + row, ints(by_expert) + row + counts[i], start[i]);
      std::iota(ints(by_arrival) + start[i], ints(by_arrival) + start[i] + counts[i], row);
      row += counts[i];
    }
  }
  ints(offsets)[experts] = row;
  const auto there = [&](const Tensor& order) {
    return members == 1 ? Tensor() : order.to(x.data().device());
  };
  const auto trip = std::make_shared<const Trip>(Trip{
      comm, mode, local, plan.capacity * experts, send, recv, there(by_expert), there(by_arrival)});
  return {travel(gather_rows(x, plan.token), trip, true), offsets, ids, trip};
}

// Results of the rows that were sent, back at their owner in the order of plan.token: [m, M].
inline Var combine(const Var& out, const Dispatched& in) { return travel(out, in.trip, false); }

}  // namespace switchyard::moe
