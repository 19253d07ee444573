// Exchange: rows travel to the ranks that hold their experts and back. Counts travel first, so only real rows do;
// `Padded` moves `capacity` slots for each expert, as the references do, with the same result.
// Rows go in chunks of local experts, so that one chunk travels while the experts of another compute:
//   dispatch: all chunks start | arrive 0, experts, send_back 0 | arrive 1, experts, send_back 1 | combine: all are back
// Each step's adjoint is another of them (dispatch and combine, arrive and send_back), so backward, which runs them
// in reverse, overlaps in the same way. Every rank of the group joins, with zero rows if need be, in backward too.
// Read before: plan.h.
#pragma once
#include <optional>

#include "autograd/ops.h"
#include "dist/mesh.h"
#include "moe/plan.h"

namespace switchyard::moe {

// The way of a chunk.
struct Trip {
  int64_t first_expert, experts;    // local
  int64_t begin, end;               // its rows among those of all chunks, at their owner
  std::vector<int64_t> send, recv;  // rows to and from each member
  int64_t slots;                    // of a rank's experts, for Padded
  Tensor offsets;                   // i64 [experts+1]: rows of each expert
  Tensor ids;  // i64 [R]: (expert, source rank, slot) as one number; keys random numbers
  // i64 [R], where the rows are: arrival of the i-th expert-sorted row, and the inverse. A lone rank has none.
  Tensor by_expert, by_arrival;
};

// The rows of one layer and round on their way. Forward and backward take the same steps.
class Journey {
 public:
  Journey(dist::Comm comm, dist::ExchangeMode mode, bool local, std::vector<Trip> trips)
      : trips(std::move(trips)),
        comm_(std::move(comm)),
        mode_(mode),
        local_(local || comm_.size() == 1),
        under_way_(this->trips.size()) {}

  // rows [m, M], by chunk. The chunk that is needed first goes first.
  void start_all(const Tensor& rows, bool last_first) {
    const int64_t n = int64_t(trips.size());
    for (int64_t i = 0; i < n; ++i) {
      const int64_t c = last_first ? n - 1 - i : i;
      const Trip& t = trips[c];
      start(c, rows.slice(t.begin, t.end), t.send, t.recv);
    }
  }
  Tensor arrive(int64_t c) {  // [R, M] sorted by local expert, then source rank, then slot
    const Tensor &rows = finish(c), &order = trips[c].by_expert;
    return order.defined() ? gathered(rows, order) : rows;
  }
  void start_back(int64_t c, const Tensor& rows) {  // [R, M], as they arrived
    const Trip& t = trips[c];
    if (trips.size() > 1 && !home_.defined()) {
      Shape shape = rows.shape();
      shape[0] = trips.back().end;
      home_ = empty_like(rows, shape);
    }
    start(c, t.by_arrival.defined() ? gathered(rows, t.by_arrival) : rows, t.recv, t.send,
          home_.defined() ? home_.slice(t.begin, t.end) : Tensor());
  }
  Tensor finish_all() {  // [m, M], by chunk
    Tensor rows;
    for (size_t c = 0; c < trips.size(); ++c) rows = finish(c);
    return home_.defined() ? std::exchange(home_, {}) : rows;
  }

  const std::vector<Trip> trips;  // by chunk

 private:
  void start(int64_t c, const Tensor& rows, const std::vector<int64_t>& send,
             const std::vector<int64_t>& recv, const Tensor& into = {}) {
    if (!local_) {
      under_way_[c].emplace(
          comm_.all_to_all_v_start(rows, send, recv, mode_, trips[c].slots, into));
    } else {
      if (into.defined()) assign(rows, into);
      under_way_[c].emplace(into.defined() ? into : rows);
    }
  }
  Tensor finish(int64_t c) {
    const Tensor rows = under_way_[c]->finish();
    under_way_[c].reset();
    return rows;
  }

  dist::Comm comm_;
  dist::ExchangeMode mode_;
  bool local_;                                            // no exchange
  std::vector<std::optional<dist::Arriving>> under_way_;  // by chunk
  Tensor home_;  // where the chunks that go back come together
};

struct Dispatched {
  Var sent;  // [0]: stands for rows that are under way
  std::shared_ptr<Journey> journey;
};

// Trips of all chunks. counts: rows from each member for each expert held here, in this order they arrive
inline std::vector<Trip> plan_trips(const DispatchPlan& plan, const std::vector<int64_t>& counts,
                                    const Chunks& chunks, int64_t rank, Device device) {
  std::vector<Trip> trips;
  const int64_t members = chunks.members, experts = chunks.experts;
  for (int64_t c = 0, begin = 0; c < chunks.count; ++c) {
    const int64_t first = chunks.begin(c), end = chunks.begin(c + 1), here = end - first;
    std::vector<int64_t> send(members), recv(members), start(members * here);
    int64_t rows = 0;
    for (int64_t m = 0; m < members; ++m)
      for (int64_t e = first; e < end; ++e) {
        start[m * here + e - first] = rows;
        rows += counts[m * experts + e];
        send[m] += plan.kept[m * experts + e];
        recv[m] += counts[m * experts + e];
      }
    const Tensor offsets = Tensor::empty({here + 1}, DType::I64);
    const Tensor ids = Tensor::empty({rows}, DType::I64), by_expert = empty_like(ids),
                 by_arrival = empty_like(ids);
    int64_t row = 0;
    for (int64_t e = first; e < end; ++e) {
      ints(offsets)[e - first] = row;
      for (int64_t m = 0; m < members; ++m) {
        const int64_t n = counts[m * experts + e], arrival = start[m * here + e - first];
        const int64_t id = ((rank * experts + e) * members + m) * plan.capacity;
        std::iota(ints(ids) + row, ints(ids) + row + n, id);
        std::iota(ints(by_expert) + row, ints(by_expert) + row + n, arrival);
        std::iota(ints(by_arrival) + arrival, ints(by_arrival) + arrival + n, row);
        row += n;
      }
    }
    ints(offsets)[here] = row;
    const int64_t sent = std::accumulate(send.begin(), send.end(), int64_t(0));
    trips.push_back(
        {first, here, begin, begin + sent, send, recv, plan.capacity * here, offsets, ids, {}, {}});
    if (members > 1) {
      trips.back().by_expert = by_expert.to(device);
      trips.back().by_arrival = by_arrival.to(device);
    }
    begin += sent;
  }
  return trips;
}

// The four nodes always run in backward: a rank whose rows got no gradient still carries those of the others.
constexpr bool kAlwaysRun = true;

// local: rows stay on their rank, where local expert j stands for expert j of every rank.
inline Dispatched dispatch(const Var& x, const DispatchPlan& plan, const Chunks& chunks,
                           const dist::Comm& comm, dist::ExchangeMode mode, bool local,
                           ForwardContext& ctx) {
  const std::vector<int64_t> counts =
      decide(ctx, [&] { return local ? plan.kept : comm.all_to_all_counts(plan.kept); });
  const auto journey = std::make_shared<Journey>(
      comm, mode, local, plan_trips(plan, counts, chunks, comm.rank(), x.data().device()));
  journey->start_all(gathered(x.data(), plan.token), false);
  const Var sent = make_node(
      "dispatch", empty_like(x.data(), {0}), {x},
      [journey, token = plan.token, shape = x.shape()](const Tensor&) -> Grads {
        const Tensor dy = journey->finish_all();
        Tensor dx = zeros_like(dy, shape);
        scatter_add_rows(dy, token, dx);
        return {dx};
      },
      kAlwaysRun);
  return {sent, journey};
}

// The rows of chunk c: [R, M] sorted by local expert, then source rank, then slot
inline Var arrive(const Dispatched& in, int64_t c) {
  return make_node(
      "arrive", in.journey->arrive(c), {in.sent},
      [journey = in.journey, c](const Tensor& dy) -> Grads {
        journey->start_back(c, dy);
        return {Tensor()};
      },
      kAlwaysRun);
}

// Results of chunk c start their way back. [0]
inline Var send_back(const Var& rows, const Dispatched& in, int64_t c) {
  in.journey->start_back(c, rows.data());
  return make_node(
      "send_back", empty_like(rows.data(), {0}), {rows},
      [journey = in.journey, c](const Tensor&) -> Grads { return {journey->arrive(c)}; },
      kAlwaysRun);
}

// Results of all rows that were sent, at their owner in the order of plan.token: [m, M]
inline Var combine(const std::vector<Var>& back, const Dispatched& in) {
  return make_node(
      "combine", in.journey->finish_all(), back,
      [journey = in.journey](const Tensor& dy) -> Grads {
        journey->start_all(dy, true);
        return Grads(journey->trips.size());
      },
      kAlwaysRun);
}

}  // namespace switchyard::moe
