// The collectives, once for thread ranks and processes together. Whatever a process needs from elsewhere
// arrives there once, at the agent of the member it is about; the other members of the process then read it
// from the agent's memory, in place. Two steps carry all but the exchange of rows: share() and reduce().
// Tensors on the GPU: gpu_collectives.cpp. Read before: call.h, tree_reduce.h.
#include <chrono>
#include <cstring>
#include <numeric>

#include "dist/call.h"
#include "dist/tree_reduce.h"
#include "tensor/kernels.h"

namespace switchyard::dist {

namespace {

Tensor empty_rows(const Tensor& like, int64_t rows) {
  Shape shape = like.shape();
  shape.at(0) = rows;
  return Tensor::empty(shape, like.dtype(), like.device());
}

void copy_bytes(std::byte* to, const std::byte* from, int64_t bytes) {
  parallel_for(bytes, int64_t{1} << 20, [&](int64_t begin, int64_t end) {
    std::memcpy(to + begin, from + begin, end - begin);
  });
}

// Brings every member's part of `out` to everyone. The own one is in place already.
void share(Call& c, const Parts& out) {
  for (int m = 0; m < c.g.size(); ++m) {
    if (!c.g.is_local(m) && c.g.agent(m) == c.me) c.receive(m, out.at(m), out.bytes(m));
  }
  for (const auto& [process, there] : c.g.members_of) {
    if (process != c.g.world->process)
      c.send(c.g.agent(c.me, process), out.at(c.me), out.bytes(c.me));
  }
  c.finish();
  c.publish(out);
  for (int m = 0; m < c.g.size(); ++m) {
    const int agent = c.g.agent(m);
    if (agent != c.me) copy_bytes(out.at(m), c.peer(agent, m, out.bytes(m)), out.bytes(m));
  }
  c.part();
}

// out = the tree over all members' values of this member's part of `src`. Each process first combines the
// subtrees it holds alone, so that one partial result travels instead of many values.
void reduce(Call& c, const Parts& src, DType dtype, Reduce op, std::byte* out) {
  const int n = c.g.size();
  c.publish(src);
  const auto values_here = [&](int part) {  // as leaves of the tree
    std::vector<TreeInput> leaves(n);
    for (int m : c.g.here()) leaves[m] = {m + 1, c.peer(m, part, src.bytes(part))};
    return leaves;
  };
  std::vector<TreeInput> inputs = values_here(c.me);
  for (const CommGroup::Subtree& tree : c.g.subtrees) {
    if (tree.process == c.g.world->process) continue;
    std::byte* result = c.scratch(src.bytes(c.me));
    c.receive(c.g.agent(c.me, tree.process), result, src.bytes(c.me));
    inputs[tree.begin] = {tree.end, result};
  }
  for (int m = 0; m < n; ++m) {
    if (c.g.is_local(m) || c.g.agent(m) != c.me) continue;
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
  c.part();
}

}  // namespace

// Runs body(call) as a collective of kind `kind`. A member that leaves it by an exception tells the others and
// waits until all ranks of this process are out of theirs: until then its memory may be read.
void Comm::collective(const char* kind, const std::function<void(Call&)>& body) const {
  World& world = *group_->world;
  const auto start = std::chrono::steady_clock::now();
  Call call(*group_, rank_, *meter_, kind);
  ++world.inside;
  try {
    if (world.poisoned) throw Aborted("another rank failed");
    body(call);
  } catch (...) {
    world.poisoned = true;
    --world.inside;
    for (int turn = 0; world.inside != 0; ++turn) world.pause(turn);
    throw;
  }
  --world.inside;
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  meter_->seconds += seconds.count();
}

int Comm::size() const { return group_ ? group_->size() : 1; }
int Comm::world_rank(int member) const { return group_->members.at(member); }

Comm Comm::split(int color, int key) const {
  const Tensor all = all_gather(Tensor::of<int32_t>({color, key}, {1, 2}));  // [size, 2]
  const int32_t* choices = all.data<int32_t>();
  std::vector<std::pair<int, int>> chosen;  // key, member
  for (int m = 0; m < size(); ++m)
    if (choices[2 * m] == color) chosen.emplace_back(choices[2 * m + 1], m);
  std::sort(chosen.begin(), chosen.end());
  const auto mine = std::find(chosen.begin(), chosen.end(), std::pair{key, rank_});
  std::vector<int> ranks;
  for (const auto& [_, m] : chosen) ranks.push_back(world_rank(m));
  return Comm(CommGroup::of(group_->world, ranks), int(mine - chosen.begin()), meter_);
}

void Comm::barrier() const {
  std::vector<std::byte> all(size());  // something from everyone
  collective("barrier", [&](Call& c) {
    c.count_others(0);
    share(c, Parts(all.data(), std::vector<int64_t>(size(), 1)));
  });
}

void Comm::broadcast(Tensor& t, int root) const {
  if (on_cuda(t)) return gpu_broadcast(t, root);
  std::vector<int64_t> sizes(size());
  sizes.at(root) = t.bytes();
  collective("broadcast", [&](Call& c) {
    if (rank_ == root) c.count_others(t.bytes());
    share(c, Parts(t.raw(), sizes));
  });
}

void Comm::all_reduce(Tensor& t, Reduce op) const {
  if (on_cuda(t)) return gpu_all_reduce(t, op);
  const int n = size();
  std::vector<int64_t> sizes;
  for (int m = 0; m < n; ++m) sizes.push_back(segment_bytes(t, m, n));
  const Parts segments(t.raw(), sizes);
  collective("all_reduce", [&](Call& c) {
    for (int m = 0; m < n; ++m) {
      if (m == rank_) continue;
      c.count(m, sizes[m]);
      c.count(m, sizes[rank_]);
    }
    reduce(c, segments, t.dtype(), op, segments.at(rank_));
    share(c, segments);
  });
}

Tensor Comm::reduce_scatter(const Tensor& t) const {
  if (on_cuda(t)) return gpu_reduce_scatter(t);
  const int n = size();
  check(t.rank() > 0 && t.dim(0) % n == 0,
        concat("reduce_scatter: ", to_string(t.shape()), " has no equal rows for ", n, " members"));
  Tensor out = empty_rows(t, t.dim(0) / n);
  const Parts slices(t.raw(), std::vector<int64_t>(n, out.bytes()));
  collective("reduce_scatter", [&](Call& c) {
    c.count_others(out.bytes());
    reduce(c, slices, t.dtype(), Reduce::Sum, out.raw());
  });
  return out;
}

Tensor Comm::all_gather(const Tensor& t) const {
  if (on_cuda(t)) return gpu_all_gather(t);
  Tensor out = empty_rows(t, t.dim(0) * size());
  const Parts parts(out.raw(), std::vector<int64_t>(size(), t.bytes()));
  collective("all_gather", [&](Call& c) {
    c.count_others(t.bytes());
    copy_bytes(parts.at(rank_), t.raw(), t.bytes());
    share(c, parts);
  });
  return out;
}

std::vector<std::string> Comm::all_gather_bytes(const std::string& mine) const {
  const Tensor sizes = all_gather(Tensor::of<int64_t>({int64_t(mine.size())}));  // [size]
  Parts all(nullptr, sizes.to_vector<int64_t>());
  std::string text(all.offsets.back(), '\0');
  all.data = reinterpret_cast<std::byte*>(text.data());
  collective("all_gather", [&](Call& c) {
    c.count_others(all.bytes(rank_));
    mine.copy(&text[all.offsets[rank_]], mine.size());
    share(c, all);
  });
  std::vector<std::string> texts;
  for (int m = 0; m < size(); ++m) texts.push_back(text.substr(all.offsets[m], all.bytes(m)));
  return texts;
}

// Rows for members of this process are read from the sender's memory in place.
void Comm::exchange(const char* kind, const Parts& from, const Parts& to) const {
  collective(kind, [&](Call& c) {
    for (int m = 0; m < size(); ++m) {
      if (from.bytes(m)) c.count(m, from.bytes(m));
      if (c.g.is_local(m)) continue;
      c.receive(m, to.at(m), to.bytes(m));
      c.send(m, from.at(m), from.bytes(m));
    }
    c.publish(from);
    for (int m : c.g.here()) copy_bytes(to.at(m), c.peer(m, rank_, to.bytes(m)), to.bytes(m));
    c.finish();
    c.part();
  });
}

Tensor Comm::all_to_all_v(const Tensor& send, const std::vector<int64_t>& send_counts,
                          const std::vector<int64_t>& recv_counts, ExchangeMode mode,
                          int64_t capacity) const {
  return all_to_all_v_start(send, send_counts, recv_counts, mode, capacity).finish();
}

Arriving Comm::all_to_all_v_start(const Tensor& send, const std::vector<int64_t>& send_counts,
                                  const std::vector<int64_t>& recv_counts, ExchangeMode mode,
                                  int64_t capacity, const Tensor& into) const {
  check(int(send_counts.size()) == size() && int(recv_counts.size()) == size(),
        "all_to_all_v: one count per member");
  const auto rows = [](const auto& counts) {
    return std::accumulate(counts.begin(), counts.end(), int64_t{0});
  };
  check(send.dim(0) == rows(send_counts),
        "all_to_all_v: the send counts do not add up to the rows");
  const Tensor out = into.defined() ? into : empty_rows(send, rows(recv_counts));
  check(out.dim(0) == rows(recv_counts) && out.device() == send.device(),
        "all_to_all_v: the receive counts do not add up to the rows");
  if (on_cuda(send) && mode == ExchangeMode::Rows)
    return gpu_all_to_all_v(send, send_counts, recv_counts, out);
  if (on_cuda(send)) {  // padded slots only serve to compare with the references
    const Tensor host = send.to(Device::CPU), arrived = empty_rows(host, out.dim(0));
    host_all_to_all_v(host, send_counts, recv_counts, mode, capacity, arrived);
    assign(arrived, out);
  } else {
    host_all_to_all_v(send, send_counts, recv_counts, mode, capacity, out);
  }
  return Arriving(out);
}

void Comm::host_all_to_all_v(const Tensor& send, const std::vector<int64_t>& send_counts,
                             const std::vector<int64_t>& recv_counts, ExchangeMode mode,
                             int64_t capacity, const Tensor& out) const {
  const int n = size();
  const int64_t row =
      numel_of(Shape(send.shape().begin() + 1, send.shape().end())) * size_of(send.dtype());
  const auto parts = [&](const Tensor& t, std::vector<int64_t> counts) {
    for (int64_t& count : counts) count *= row;
    return Parts(t.raw(), counts);
  };
  const Parts from = parts(send, send_counts), to = parts(out, recv_counts);
  if (mode == ExchangeMode::Rows) return exchange("all_to_all", from, to);
  const Tensor slots = Tensor::zeros(empty_rows(send, n * capacity).shape(), send.dtype());
  const Tensor arrived = empty_like(slots);
  const Parts filled = parts(slots, std::vector(n, capacity)),
              slots_in = parts(arrived, std::vector(n, capacity));
  for (int m = 0; m < n; ++m) {
    check(std::max(send_counts[m], recv_counts[m]) <= capacity,
          "all_to_all_v: more rows than padded slots");
    copy_bytes(filled.at(m), from.at(m), from.bytes(m));
  }
  exchange("all_to_all", filled, slots_in);
  for (int m = 0; m < n; ++m) copy_bytes(to.at(m), slots_in.at(m), to.bytes(m));
}

std::vector<int64_t> Comm::all_to_all_counts(const std::vector<int64_t>& counts) const {
  const Tensor send = Tensor::of(counts), out = empty_like(send);
  check(send.numel() % size() == 0, "all_to_all_counts: the same number for each member");
  const std::vector<int64_t> equal(size(), send.bytes() / size());
  exchange("counts", Parts(send.raw(), equal), Parts(out.raw(), equal));
  return out.to_vector<int64_t>();
}

int64_t Comm::all_reduce(int64_t x, Reduce op) const {
  Tensor t = Tensor::of<int64_t>({x});
  all_reduce(t, op);
  return t.data<int64_t>()[0];
}

}  // namespace switchyard::dist
