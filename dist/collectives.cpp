// The collectives, once for thread ranks and processes together. Whatever a process needs from elsewhere
// arrives there once, at the agent of the member it is about; the other members of the process then read it
// from the agent's memory, in place. Two steps carry all but the exchange of rows: share() and reduce().
// Read before: call.h, tree_reduce.h.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "dist/call.h"
#include "dist/tree_reduce.h"
#include "tensor/parallel.h"

namespace switchyard::dist {
namespace {

constexpr int64_t kSmall = 4096;  // bytes; below, everyone gathers all values and sums them itself

void check_cpu(const Tensor& t, const char* name) {
  check(t.defined() && t.device() == Device::CPU,
        concat(name, ": needs a defined tensor on the CPU"));
}

Tensor empty_rows(const Tensor& like, int64_t rows) {
  Shape shape = like.shape();
  shape.at(0) = rows;
  return Tensor::empty(shape, like.dtype());
}

void copy_bytes(std::byte* to, const std::byte* from, int64_t bytes) {
  parallel_for(bytes, int64_t{1} << 20, [&](int64_t begin, int64_t end) {
    std::memcpy(to + begin, from + begin, end - begin);
  });
}

// Brings every member's part to everyone. `out` is published, with the own part in place already.
void share(Call& c, const Parts& out) {
  for (int m = 0; m < c.g.size(); ++m) {
    if (!c.g.is_local(m) && c.agent(m) == c.me) c.receive(m, out.at(m), out.bytes(m));
  }
  for (const auto& [process, there] : c.g.members_of) {
    if (process != c.g.world->process)
      c.send(c.g.agent(process, c.me), out.at(c.me), out.bytes(c.me));
  }
  c.finish();
  c.meet();
  for (int m = 0; m < c.g.size(); ++m) {
    if (c.agent(m) != c.me)
      copy_bytes(out.at(m), c.peer(c.agent(m), m, out.bytes(m)), out.bytes(m));
  }
  c.meet();
}

// The parts of all members, in order, of the given sizes; in `out`, or in scratch memory.
const Parts& gather(Call& c, const void* mine, const std::vector<int64_t>& sizes,
                    std::byte* out = nullptr) {
  Parts all(out, sizes);
  if (!out) all.data = c.scratch(all.total());
  copy_bytes(all.at(c.me), static_cast<const std::byte*>(mine), all.bytes(c.me));
  const Parts& published = c.publish(std::move(all));
  share(c, published);
  return published;
}

// out = the tree over all members' values of this member's part of `src`, which is published. Each process
// first combines the subtrees it holds alone, so that one partial result travels instead of many values. Ends
// without a meeting: the others may still read src, but only this member's part of it is free to be written.
void reduce(Call& c, const Parts& src, DType dtype, Reduce op, std::byte* out) {
  const int n = c.g.size();
  c.meet();
  const auto values_here = [&](int part) {  // as leaves of the tree
    std::vector<TreeInput> leaves(n);
    for (int m : c.g.here()) leaves[m] = {m + 1, c.peer(m, part, src.bytes(part))};
    return leaves;
  };
  std::vector<TreeInput> inputs = values_here(c.me);
  for (const CommGroup::Subtree& tree : c.g.subtrees) {
    if (tree.process == c.g.world->process) continue;
    std::byte* result = c.scratch(src.bytes(c.me));
    c.receive(c.g.agent(tree.process, c.me), result, src.bytes(c.me));
    inputs[tree.begin] = {tree.end, result};
  }
  for (int m = 0; m < n; ++m) {
    if (c.g.is_local(m) || c.agent(m) != c.me) continue;
    const std::vector<TreeInput> leaves = values_here(m);
    for (const CommGroup::Subtree& tree : c.g.subtrees) {
      if (tree.process != c.g.world->process) continue;
      std::byte* result = c.scratch(src.bytes(m));
      tree_reduce(leaves, tree.begin, tree.end, src.bytes(m) / size_of(dtype), dtype, op, result);
      c.send(m, result, src.bytes(m));
    }
  }
  c.finish();
  tree_reduce(inputs, 0, n, src.bytes(c.me) / size_of(dtype), dtype, op, out);
}

int64_t reduce_number(const Comm& comm, int64_t x, Reduce op) {
  Tensor t = Tensor::of<int64_t>({x});
  comm.all_reduce(t, op);
  return t.data<int64_t>()[0];
}

// Moves rows to or from slots: `capacity` rows for each member, of which counts[m] are real.
void move_rows(const Tensor& rows, const Tensor& slots, const std::vector<int64_t>& counts,
               int64_t capacity, bool into_slots) {
  int64_t row = 0;
  for (int64_t m = 0; m < int64_t(counts.size()); ++m) {
    const Tensor packed = rows.slice(row, row + counts[m]);
    const Tensor slot = slots.slice(m * capacity, m * capacity + counts[m]);
    if (into_slots) copy_bytes(slot.raw(), packed.raw(), packed.bytes());
    else copy_bytes(packed.raw(), slot.raw(), packed.bytes());
    row += counts[m];
  }
}

}  // namespace

void CommMeter::add(const Entry& e) {
  if (e.messages == 0 && e.carried_bytes == 0) return;
  auto sum = std::find_if(entries.begin(), entries.end(), [&](const Entry& known) {
    return known.level == e.level && known.kind == e.kind;
  });
  if (sum == entries.end()) sum = entries.insert(sum, {e.kind, e.level});
  sum->messages += e.messages;
  sum->bytes += e.bytes;
  sum->carried_bytes += e.carried_bytes;
}

int Comm::size() const { return group_ ? group_->size() : 1; }
int Comm::world_rank(int member) const { return group_->members.at(member); }

CommMeter& Comm::meter() const {
  World& world = *group_->world;
  return world.meters[world.local_index(group_->members[rank_])];
}

Comm Comm::split(int color, int key) const {
  World& world = *group_->world;
  int64_t& next = world.next_context[world.local_index(world_rank(rank_))];
  const Tensor all = all_gather(Tensor::of<int64_t>({color, key, next}, {1, 3}));  // [size, 3]
  std::vector<std::pair<int64_t, int>> chosen;                                     // key, member
  for (int m = 0; m < size(); ++m) {
    const int64_t* choice = all.data<int64_t>() + 3 * m;
    if (choice[0] == color) chosen.emplace_back(choice[1], m);
    next = std::max(next, choice[2] + 1);  // any two ranks see the ids of their groups rise
  }
  std::sort(chosen.begin(), chosen.end());
  std::vector<int> ranks;
  int mine = 0;
  for (const auto& [_, m] : chosen) {
    if (m == rank_) mine = int(ranks.size());
    ranks.push_back(world_rank(m));
  }
  return Comm(CommGroup::shared(group_->world, next - 1, ranks), mine);
}

void Comm::barrier() const {
  collective(group_.get(), rank_, "barrier", [&](Call& c) {
    c.count_others(0);
    gather(c, "", std::vector<int64_t>(size(), 1));
  });
}

void Comm::broadcast(Tensor& t, int root) const {
  check_cpu(t, "broadcast");
  check(root >= 0 && root < size(), concat("broadcast: no member ", root));
  collective(group_.get(), rank_, "broadcast", [&](Call& c) {
    if (rank_ == root) c.count_others(t.bytes());
    std::vector<int64_t> sizes(size());
    sizes[root] = t.bytes();
    share(c, c.publish(Parts(t.raw(), sizes)));
  });
}

void Comm::all_reduce(Tensor& t, Reduce op) const {
  check_cpu(t, "all_reduce");
  collective(group_.get(), rank_, "all_reduce", [&](Call& c) {
    const int n = size();
    std::vector<int64_t> sizes;
    for (int m = 0; m < n; ++m)
      sizes.push_back((t.numel() * (m + 1) / n - t.numel() * m / n) * size_of(t.dtype()));
    for (int m = 0; m < n; ++m) {
      if (m == rank_) continue;
      c.count(m, sizes[m]);
      c.count(m, sizes[rank_]);
    }
    if (t.bytes() <= kSmall) {  // one step instead of two
      const Parts& all = gather(c, t.raw(), std::vector<int64_t>(n, t.bytes()));
      std::vector<TreeInput> inputs;
      for (int m = 0; m < n; ++m) inputs.push_back({m + 1, all.at(m)});
      tree_reduce(inputs, 0, n, t.numel(), t.dtype(), op, t.raw());
      return;
    }
    const Parts& segments = c.publish(Parts(t.raw(), sizes));
    reduce(c, segments, t.dtype(), op, segments.at(rank_));
    share(c, segments);
  });
}

Tensor Comm::reduce_scatter(const Tensor& t) const {
  check_cpu(t, "reduce_scatter");
  const int n = size();
  check(t.rank() > 0 && t.dim(0) % n == 0,
        concat("reduce_scatter: ", to_string(t.shape()), " has no equal rows for ", n, " members"));
  Tensor out = empty_rows(t, t.dim(0) / n);
  collective(group_.get(), rank_, "reduce_scatter", [&](Call& c) {
    c.count_others(out.bytes());
    const Parts& slices = c.publish(Parts(t.raw(), std::vector<int64_t>(n, out.bytes())));
    reduce(c, slices, t.dtype(), Reduce::Sum, out.raw());
    c.meet();  // the others may still be reading t
  });
  return out;
}

Tensor Comm::all_gather(const Tensor& t) const {
  check_cpu(t, "all_gather");
  check(t.rank() > 0, "all_gather: needs a first dimension");
  Tensor out = empty_rows(t, t.dim(0) * size());
  collective(group_.get(), rank_, "all_gather", [&](Call& c) {
    c.count_others(t.bytes());
    gather(c, t.raw(), std::vector<int64_t>(size(), t.bytes()), out.raw());
  });
  return out;
}

std::vector<std::string> Comm::all_gather_bytes(const std::string& mine) const {
  const Tensor sizes = all_gather(Tensor::of<int64_t>({int64_t(mine.size())}));  // [size]
  std::vector<std::string> texts;
  collective(group_.get(), rank_, "all_gather", [&](Call& c) {
    c.count_others(int64_t(mine.size()));
    const Parts& all = gather(c, mine.data(), sizes.to_vector<int64_t>());
    for (int m = 0; m < size(); ++m)
      texts.emplace_back(reinterpret_cast<const char*>(all.at(m)), all.bytes(m));
  });
  return texts;
}

Tensor Comm::all_to_all_v(const Tensor& send, const std::vector<int64_t>& send_counts,
                          const std::vector<int64_t>& recv_counts, ExchangeMode mode,
                          int64_t capacity) const {
  check_cpu(send, "all_to_all_v");
  const size_t n = size();
  check(send_counts.size() == n && recv_counts.size() == n, "all_to_all_v: one count per member");
  check(std::accumulate(send_counts.begin(), send_counts.end(), int64_t{0}) == send.dim(0),
        concat("all_to_all_v: the send counts do not add up to the rows of ",
               to_string(send.shape())));
  Tensor out =
      empty_rows(send, std::accumulate(recv_counts.begin(), recv_counts.end(), int64_t{0}));
  if (mode == ExchangeMode::Padded) {
    for (size_t m = 0; m < n; ++m)
      check(std::max(send_counts[m], recv_counts[m]) <= capacity,
            concat("all_to_all_v: more rows than the ", capacity, " padded slots"));
    const std::vector<int64_t> equal(n, capacity);
    Tensor slots = empty_rows(send, int64_t(n) * capacity);
    std::fill_n(slots.raw(), slots.bytes(), std::byte{0});
    move_rows(send, slots, send_counts, capacity, true);
    move_rows(out, all_to_all_v(slots, equal, equal), recv_counts, capacity, false);
    return out;
  }
  const int64_t row =
      numel_of(Shape(send.shape().begin() + 1, send.shape().end())) * size_of(send.dtype());
  const auto parts = [&](const Tensor& t, std::vector<int64_t> counts) {
    for (int64_t& count : counts) count *= row;
    return Parts(t.raw(), counts);
  };
  collective(group_.get(), rank_, "all_to_all", [&](Call& c) {
    const Parts& from = c.publish(parts(send, send_counts));
    const Parts to = parts(out, recv_counts);
    for (int m = 0; m < size(); ++m) {
      if (from.bytes(m)) c.count(m, from.bytes(m));
      if (c.g.is_local(m)) continue;
      c.receive(m, to.at(m), to.bytes(m));
      c.send(m, from.at(m), from.bytes(m));
    }
    c.meet();
    for (int m : c.g.here()) copy_bytes(to.at(m), c.peer(m, rank_, to.bytes(m)), to.bytes(m));
    c.finish();
    c.meet();
  });
  return out;
}

std::vector<int64_t> Comm::all_to_all_counts(const std::vector<int64_t>& counts) const {
  const size_t n = size(), k = counts.size() / n;
  check(counts.size() == n * k, "all_to_all_counts: the same number of counts for each member");
  std::vector<int64_t> result;
  collective(group_.get(), rank_, "counts", [&](Call& c) {
    for (size_t m = 0; m < n; ++m) c.count(int(m), int64_t(k) * 8);
    // Everyone's counts to everyone: they are few, and each process needs fewer messages this way.
    const Parts& all = gather(c, counts.data(), std::vector<int64_t>(n, int64_t(n * k) * 8));
    for (size_t m = 0; m < n; ++m) {
      const auto* mine = reinterpret_cast<const int64_t*>(all.at(int(m))) + rank_ * k;
      result.insert(result.end(), mine, mine + k);
    }
  });
  return result;
}

int64_t Comm::max(int64_t x) const { return reduce_number(*this, x, Reduce::Max); }
int64_t Comm::min(int64_t x) const { return reduce_number(*this, x, Reduce::Min); }
int64_t Comm::sum(int64_t x) const { return reduce_number(*this, x, Reduce::Sum); }

}  // namespace switchyard::dist
