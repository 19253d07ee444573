// Comm: what a rank uses to talk to the others. A run has R ranks; P processes carry them as threads in
// contiguous blocks. Thread ranks of one process read each other's memory in place, MPI carries the rest;
// the collectives are implemented once over both, and give the same bits at every P.
// Every member calls the same collectives in the same order, with zero rows if need be.
// A rank that throws poisons the world: every other rank's next wait throws Aborted.
// Read before: tensor.h. Read next: comm_group.h, collectives.cpp.
#pragma once
#include <functional>
#include <map>
#include <utility>

#include "tensor/device.h"

namespace switchyard::dist {

enum class Reduce { Sum, Max, Min };
enum class Level { Rank, Node, Cluster };  // a message to itself, inside a node, between nodes

// How all_to_all_v moves rows: `Rows` sends just the real rows; `Padded` sends `capacity` slots to
// everyone, as the references do. The result is the same; the meter and the traffic differ.
enum class ExchangeMode { Rows, Padded };

// Messages and bytes of one rank by collective kind and level. As the method sees them, with n members and
// b bytes:
//   all_to_all      one message to each member, itself included, with its rows, if there are any;
//                   Padded: always `capacity` rows; the counts before it are of kind "counts"
//   all_gather      b to each other member          broadcast   the root: b to each other member
//   reduce_scatter  each other member's slice       barrier     an empty message to each other member
//   all_reduce      as a reduce_scatter of n segments and an all_gather of the own one; segment m of N
//                   elements is [m N / n, (m + 1) N / n)
struct CommMeter {
  struct Traffic {
    int64_t messages = 0, bytes = 0;  // as the method sees them
    int64_t carried_bytes =
        0;  // what this rank gave to MPI or NCCL, however the collective is done
  };
  std::map<std::pair<std::string, Level>, Traffic> entries;  // by collective kind and level
  double seconds =
      0;  // spent inside collectives, waiting included; between GPUs only to start them
  void reset() { *this = {}; }
};

struct Aborted : Error {  // another rank failed
  using Error::Error;
};

// Rows on their way; finish() gives them. Until then their memory is kept.
class Arriving {
 public:
  explicit Arriving(Tensor rows) : rows_(std::move(rows)) {}  // that are here
  Arriving(Tensor rows, Tensor sent, cuda::Event arrived)
      : rows_(std::move(rows)), sent_(std::move(sent)), arrived_(std::move(arrived)) {}
  Arriving(Arriving&&) = default;
  ~Arriving() {
    try {
      if (arrived_) cuda::compute_after(arrived_);  // before the memory is used again
    } catch (const Error&) {  // the GPU has failed, which is being told already
    }
  }
  Tensor finish() {
    if (const auto arrived = std::exchange(arrived_, nullptr)) cuda::compute_after(arrived);
    sent_ = {};
    return std::move(rows_);
  }

 private:
  Tensor rows_, sent_;
  cuda::Event arrived_;
};

class CommGroup;  // the members' shared state
class Call;       // one collective of one member
struct Parts;     // memory cut into one part for each member

class Comm {
 public:
  Comm() = default;  // no members, no collectives
  Comm(std::shared_ptr<CommGroup> group, int rank, std::shared_ptr<CommMeter> meter)
      : group_(std::move(group)), rank_(rank), meter_(std::move(meter)) {}
  int rank() const { return rank_; }
  int size() const;
  int world_rank(int member) const;
  // Members with the same color form a new Comm, ordered by (key, rank). Collective.
  Comm split(int color, int key) const;

  void barrier() const;
  void broadcast(Tensor& t, int root) const;
  // Sum: the fixed pairwise tree over the rank index, (0+1)+(2+3)...: bits do not depend on P. In place.
  void all_reduce(Tensor& t, Reduce op = Reduce::Sum) const;
  int64_t all_reduce(int64_t x, Reduce op) const;
  // The sum in an order of NCCL's own, for tensors of the GPU; an error where NCCL does not connect the ranks
  void all_reduce_fast(Tensor& t) const;
  Tensor reduce_scatter(const Tensor& t) const;  // [size * n, ...] -> own [n, ...], tree sums
  Tensor all_gather(const Tensor& t) const;      // [n, ...] -> [size * n, ...], equal shapes
  std::vector<std::string> all_gather_bytes(const std::string& mine) const;  // any sizes
  // send: rows sorted by destination, send_counts[r] rows go to rank r. Returns the rows of rank 0, 1, ...
  // in that order; recv_counts (known to the caller: counts travel first through all_to_all_counts).
  Tensor all_to_all_v(const Tensor& send, const std::vector<int64_t>& send_counts,
                      const std::vector<int64_t>& recv_counts,
                      ExchangeMode mode = ExchangeMode::Rows, int64_t capacity = 0) const;
  // The same in two steps, between which a GPU computes. All members start and finish in the same order.
  // into: where the rows shall arrive, if given
  Arriving all_to_all_v_start(const Tensor& send, const std::vector<int64_t>& send_counts,
                              const std::vector<int64_t>& recv_counts,
                              ExchangeMode mode = ExchangeMode::Rows, int64_t capacity = 0,
                              const Tensor& into = {}) const;
  // Between start and finish rows travel by themselves: there is something to gain from chunks.
  bool exchange_overlaps(Device device, ExchangeMode mode) const;
  // counts [size * k] i64: k numbers to each rank -> k numbers from each rank
  std::vector<int64_t> all_to_all_counts(const std::vector<int64_t>& counts) const;

  CommMeter& meter() const { return *meter_; }  // this rank's, shared by its split comms

 private:
  void collective(const char* kind, const std::function<void(Call&)>& body) const;
  void exchange(const char* kind, const Parts& from, const Parts& to) const;
  // The same on tensors of the GPU (gpu_collectives.cpp)
  friend std::string open_gpu_ways(const Comm& world, Device device);
  cuda::PeerLink& link() const;
  cuda::Event gpu_exchange(const char* kind, const std::vector<cuda::PeerLink::Part>& send,
                           const std::vector<cuda::PeerLink::Part>& receive) const;
  void gpu_broadcast(Tensor& t, int root) const;
  void gpu_all_reduce(Tensor& t, Reduce op) const;
  Tensor gpu_reduce_scatter(const Tensor& t) const;
  Tensor gpu_all_gather(const Tensor& t) const;
  Arriving gpu_all_to_all_v(const Tensor& send, const std::vector<int64_t>& send_counts,
                            const std::vector<int64_t>& recv_counts, const Tensor& out) const;
  void host_all_to_all_v(const Tensor& send, const std::vector<int64_t>& send_counts,
                         const std::vector<int64_t>& recv_counts, ExchangeMode mode,
                         int64_t capacity, const Tensor& out) const;
  std::shared_ptr<CommGroup> group_;
  int rank_ = 0;
  std::shared_ptr<CommMeter> meter_;
};

// Decides how the GPUs of all ranks exchange bytes, before the first of them does, and says it: "" when the ranks'
// device is the CPU. Collective.
std::string open_gpu_ways(const Comm& world, Device device);

}  // namespace switchyard::dist
