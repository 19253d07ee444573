// Exchange: rows travel to the ranks that hold their experts and back. dispatch() and combine() are
// differentiable and adjoint to each other; each is one all_to_all_v. Counts travel first, so only real
// rows do; `Padded` moves `capacity` slots for each expert, as the references do, with the same result.
// Every rank of the group joins, with zero rows if need be, in backward too. Read before: plan.h.
#pragma once
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
  Tensor by_expert, by_arrival;  // i64 [R]: arrival of the i-th expert-sorted row, and the inverse
};

struct Dispatched {
  Var rows;        // [R, M] sorted by local expert, then source rank, then slot
  Tensor offsets;  // i64 [E_local+1]: rows of each local expert
  Tensor ids;      // i64 [R]: (expert, source rank, slot) as one number; keys random numbers
  std::shared_ptr<const Trip> trip;
};

// local: rows stay on their rank, where local expert j stands for expert j of every rank.
Dispatched dispatch(const Var& x, const DispatchPlan& plan, const dist::Comm& comm,
                    dist::ExchangeMode mode, bool local, ForwardContext& ctx);
// Results of the rows that were sent, back at their owner in the order of plan.token: [m, M].
Var combine(const Var& out, const Dispatched& in);

}  // namespace switchyard::moe
