// The collectives, once for thread ranks and processes together. Whatever a process needs from elsewhere
// arrives there once, at the agent of the member it is about; the other members of the process then read it
// from the agent's memory, in place.
// Read before: call.h, tree_reduce.h.
#include <algorithm>
#include <numeric>

#include "dist/call.h"
#include "dist/tree_reduce.h"
#include "tensor/allocator.h"

namespace switchyard::dist {
namespace {

constexpr int64_t kSmall = 4096;  // bytes; below, everyone gathers all values and sums them itself

// One value of each member.
template <class T>
std::vector<T> gather_values(Call& c, const T& mine) {
  std::vector<T> all(c.g.size());
  gather(c, reinterpret_cast<const std::byte*>(&mine), equal_parts(c.g.size(), sizeof(T)),
         reinterpret_cast<std::byte*>(all.data()));
  return all;
}

template <class T, class Fold>
T fold_values(const std::shared_ptr<CommGroup>& group, int me, const T& mine, const Fold& fold) {
  T result = mine;
  collective(group, me, "all_reduce", [&](Call& c) {
    c.count_others(sizeof(T));
    const std::vector<T> all = gather_values(c, mine);
    result = std::accumulate(all.begin() + 1, all.end(), all[0], fold);  // in rank order
  });
  return result;
}

// What a reduction is about: every member's src, cut into one segment for each member (in elements).
struct Segments {
  const std::byte* src;
  std::vector<int64_t> cut;
  DType dtype;
  Reduce op;
  int64_t elements(int m) const { return cut[m + 1] - cut[m]; }
  int64_t offset(int m) const { return cut[m] * size_of(dtype); }
  int64_t bytes(int m) const { return elements(m) * size_of(dtype); }
  int64_t total_bytes() const { return cut.back() * size_of(dtype); }
};

// The values that members of this process have for segment `m`, as leaves of the tree.
void local_inputs(const Call& c, const Segments& s, int m, std::vector<TreeInput>& inputs) {
  for (int leaf : c.g.hosts[c.g.here].members) {
    inputs[leaf] = {leaf + 1, c.peer(leaf, s.total_bytes()) + s.offset(m)};
  }
}

// out = the tree over all members' values of this member's segment. Each process first combines the subtrees
// it holds alone, so that one partial result travels instead of many values. Ends without a meeting: the
// others may still be reading src, but only this member's segment of it is free to be written.
void reduce_segments(Call& c, const Segments& s, std::byte* out) {
  const int n = c.g.size();
  c.publish(s.src, s.total_bytes());
  c.meet();
  std::vector<std::shared_ptr<std::byte>> buffers;
  std::vector<TreeInput> inputs(n);
  for (const CommGroup::Subtree& part : c.g.subtrees) {
    if (part.host == c.g.here || s.elements(c.me) == 0) continue;
    buffers.push_back(allocate(s.bytes(c.me)));
    c.receive(c.g.agent(part.host, c.me), buffers.back().get(), s.bytes(c.me));
    inputs[part.begin] = {part.end, buffers.back().get()};
  }
  for (int m = 0; m < n; ++m) {
    if (c.is_local(m) || c.agent(m) != c.me || s.elements(m) == 0) continue;
    std::vector<TreeInput> leaves(n);
    for (const CommGroup::Subtree& part : c.g.subtrees) {
      if (part.host != c.g.here) continue;
      buffers.push_back(allocate(s.bytes(m)));
      c.read([&] {
        local_inputs(c, s, m, leaves);
        tree_reduce(leaves, part.begin, part.end, s.elements(m), s.dtype, s.op,
                    buffers.back().get());
      });
      c.send(m, buffers.back().get(), s.bytes(m));
    }
  }
  c.finish();
  c.read([&] {
    local_inputs(c, s, c.me, inputs);
    if (s.elements(c.me)) tree_reduce(inputs, 0, n, s.elements(c.me), s.dtype, s.op, out);
  });
}

}  // namespace

int Comm::rank() const { return rank_; }
int Comm::size() const { return group_ ? group_->size() : 1; }
int Comm::world_rank(int member) const { return group_->members.at(member); }

CommMeter& Comm::meter() const {
  World& world = *group_->world;
  return world.meters[world.local_index(group_->members[rank_])];
}

Comm Comm::split(int color, int key) const {
  struct Choice {
    int64_t color, key, next_context;
  };
  Comm result;
  collective(group_, rank_, "split", [&](Call& c) {
    World& world = *c.g.world;
    int64_t& next = world.next_context[world.local_index(c.g.members[rank_])];
    const std::vector<Choice> all = gather_values(c, Choice{color, key, next});
    // An id that none of the members has used: any two ranks see the ids of their common groups rise.
    int64_t context = 0;
    for (const Choice& choice : all) context = std::max(context, choice.next_context);
    next = context + 1;
    std::vector<int> chosen;
    for (int m = 0; m < size(); ++m) {
      if (all[m].color == color) chosen.push_back(m);
    }
    std::stable_sort(chosen.begin(), chosen.end(),
                     [&](int a, int b) { return all[a].key < all[b].key; });
    const int maker =
        *std::find_if(chosen.begin(), chosen.end(), [&](int m) { return c.is_local(m); });
    if (maker == rank_) {
      std::vector<int> ranks;
      for (int m : chosen) ranks.push_back(c.g.members[m]);
      c.g.slots[rank_].child = std::make_shared<CommGroup>(c.g.world, context, ranks);
    }
    c.meet();
    const auto at = std::find(chosen.begin(), chosen.end(), rank_) - chosen.begin();
    c.read([&] { result = Comm(c.g.slots[maker].child, int(at)); });
    c.meet();
    c.g.slots[rank_].child.reset();
  });
  return result;
}

void Comm::barrier() const {
  collective(group_, rank_, "barrier", [](Call& c) {
    c.count_others(0);
    gather_values(c, char{0});
  });
}

void Comm::broadcast(Tensor& t, int root) const {
  check_cpu(t, "broadcast");
  check(root >= 0 && root < size(), concat("broadcast: no member ", root));
  collective(group_, rank_, "broadcast", [&](Call& c) {
    const int source = c.agent(root);  // in this process
    if (rank_ == root) {
      c.count_others(t.bytes());
      for (int h = 0; h < int(c.g.hosts.size()); ++h) {
        if (h != c.g.here) c.send(c.g.agent(h, root), t.raw(), t.bytes());
      }
    } else if (rank_ == source) {
      c.receive(root, t.raw(), t.bytes());
    }
    c.publish(t.raw(), t.bytes());
    c.finish();
    c.meet();
    c.read([&] {
      if (const std::byte* from = c.peer(source, t.bytes()); rank_ != source && t.bytes() > 0) {
        copy(t.raw(), from, t.bytes());
      }
    });
    c.meet();
  });
}

void Comm::all_reduce(Tensor& t, Reduce op) const {
  check_cpu(t, "all_reduce");
  collective(group_, rank_, "all_reduce", [&](Call& c) {
    const int n = size();
    Segments s{t.raw(), {}, t.dtype(), op};
    std::vector<int64_t> offsets;
    for (int m = 0; m <= n; ++m) {
      s.cut.push_back(t.numel() * m / n);
      offsets.push_back(s.offset(m));
    }
    for (int m = 0; m < n; ++m) {
      if (m == rank_) continue;
      c.count(m, s.bytes(m));
      c.count(m, s.bytes(rank_));
    }
    if (t.bytes() <= kSmall) {  // one step instead of two
      const std::shared_ptr<std::byte> all = allocate(n * t.bytes());
      gather(c, t.raw(), equal_parts(n, t.bytes()), all.get());
      std::vector<TreeInput> inputs(n);
      for (int m = 0; m < n; ++m) inputs[m] = {m + 1, all.get() + m * t.bytes()};
      tree_reduce(inputs, 0, n, t.numel(), t.dtype(), op, t.raw());
      return;
    }
    reduce_segments(c, s, t.raw() + offsets[rank_]);
    exchange_parts(c, offsets, t.raw());
    spread_parts(c, offsets, t.raw());
  });
}

Tensor Comm::reduce_scatter(const Tensor& t) const {
  check_cpu(t, "reduce_scatter");
  const int n = size();
  check(t.rank() > 0 && t.dim(0) % n == 0,
        concat("reduce_scatter: ", to_string(t.shape()), " has no equal rows for ", n, " members"));
  Tensor out = Tensor::empty(with_rows(t.shape(), t.dim(0) / n), t.dtype());
  collective(group_, rank_, "reduce_scatter", [&](Call& c) {
    c.count_others(out.bytes());
    reduce_segments(c, {t.raw(), equal_parts(n, out.numel()), t.dtype(), Reduce::Sum}, out.raw());
    c.meet();  // the others may still be reading t
  });
  return out;
}

Tensor Comm::all_gather(const Tensor& t) const {
  check_cpu(t, "all_gather");
  check(t.rank() > 0, "all_gather: needs a first dimension");
  Tensor out = Tensor::empty(with_rows(t.shape(), t.dim(0) * size()), t.dtype());
  collective(group_, rank_, "all_gather", [&](Call& c) {
    c.count_others(t.bytes());
    gather(c, t.raw(), equal_parts(size(), t.bytes()), out.raw());
  });
  return out;
}

std::vector<std::string> Comm::all_gather_bytes(const std::string& mine) const {
  std::vector<std::string> parts;
  collective(group_, rank_, "all_gather", [&](Call& c) {
    c.count_others(int64_t(mine.size()));
    const std::vector<int64_t> sizes = gather_values(c, int64_t(mine.size()));
    std::vector<int64_t> offsets(1, 0);
    for (int64_t bytes : sizes) offsets.push_back(offsets.back() + bytes);
    std::string all(offsets.back(), '\0');
    gather(c, reinterpret_cast<const std::byte*>(mine.data()), offsets,
           reinterpret_cast<std::byte*>(all.data()));
    for (int m = 0; m < size(); ++m) parts.push_back(all.substr(offsets[m], sizes[m]));
  });
  return parts;
}

int64_t Comm::max(int64_t x) const {
  return fold_values(group_, rank_, x, [](int64_t a, int64_t b) { return std::max(a, b); });
}
int64_t Comm::min(int64_t x) const {
  return fold_values(group_, rank_, x, [](int64_t a, int64_t b) { return std::min(a, b); });
}
int64_t Comm::sum(int64_t x) const {
  return fold_values(group_, rank_, x, [](int64_t a, int64_t b) { return a + b; });
}
double Comm::sum(double x) const {
  return fold_values(group_, rank_, x, [](double a, double b) { return a + b; });
}

}  // namespace switchyard::dist
