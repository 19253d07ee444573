// Rows from everyone to everyone. Rows for members of this process are read from the sender's memory in place.
// Read before: call.h.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "dist/call.h"
#include "tensor/allocator.h"

namespace switchyard::dist {
namespace {

int64_t row_bytes(const Tensor& t) {
  return numel_of(Shape(t.shape().begin() + 1, t.shape().end())) * size_of(t.dtype());
}

}  // namespace

Tensor Comm::all_to_all_v(const Tensor& send, const std::vector<int64_t>& send_counts,
                          const std::vector<int64_t>& recv_counts, ExchangeMode mode,
                          int64_t capacity) const {
  check_cpu(send, "all_to_all_v");
  const int n = size();
  const int64_t row = row_bytes(send), slots = capacity * row;
  const bool padded = mode == ExchangeMode::Padded;
  check(int(send_counts.size()) == n && int(recv_counts.size()) == n,
        "all_to_all_v: one count per member");
  std::vector<int64_t> from(1, 0),
      to(1, 0);  // byte offsets of each member's rows in send and in the result
  for (int m = 0; m < n; ++m) {
    check(send_counts[m] >= 0 && recv_counts[m] >= 0, "all_to_all_v: negative count");
    check(!padded || std::max(send_counts[m], recv_counts[m]) <= capacity,
          concat("all_to_all_v: more rows than the ", capacity, " padded slots"));
    from.push_back(from.back() + send_counts[m] * row);
    to.push_back(to.back() + recv_counts[m] * row);
  }
  check(from.back() == send.bytes(),
        concat("all_to_all_v: the send counts do not add up to the rows of ",
               to_string(send.shape())));
  Tensor out = Tensor::empty(
      with_rows(send.shape(), std::accumulate(recv_counts.begin(), recv_counts.end(), int64_t{0})),
      send.dtype());
  collective(group_, rank_, "all_to_all", [&](Call& c) {
    std::vector<std::shared_ptr<std::byte>> staged(
        n);  // Padded: received slots, to be cut to the real rows
    std::vector<std::shared_ptr<std::byte>> filled;
    for (int m = 0; m < n; ++m) {
      const int64_t out_bytes = from[m + 1] - from[m], in_bytes = to[m + 1] - to[m];
      if (padded) c.count(m, slots);
      else if (out_bytes) c.count(m, out_bytes);
      if (c.is_local(m)) continue;
      if (padded) {
        staged[m] = allocate(slots);
        c.receive(m, staged[m].get(), slots);
        filled.push_back(allocate(slots));
        std::byte* slot = filled.back().get();
        if (out_bytes) std::memcpy(slot, send.raw() + from[m], out_bytes);
        std::memset(slot + out_bytes, 0, slots - out_bytes);
        c.send(m, slot, slots);
      } else {
        c.receive(m, out.raw() + to[m], in_bytes);
        c.send(m, send.raw() + from[m], out_bytes);
      }
    }
    c.publish(send.raw(), send.bytes(), from.data());
    c.meet();
    c.read([&] {
      for (int m : c.g.hosts[c.g.here].members) {
        const CommGroup::Slot& slot = c.g.slots[m];
        const int64_t bytes = to[m + 1] - to[m];
        if (slot.offsets[rank_ + 1] - slot.offsets[rank_] != bytes) {
          throw Error(concat("all_to_all_v: rank ", c.g.members[m], " does not send what rank ",
                             c.g.members[rank_], " expects"));
        }
        if (bytes) copy(out.raw() + to[m], slot.data + slot.offsets[rank_], bytes);
      }
    });
    c.finish();
    for (int m = 0; m < n; ++m) {
      if (staged[m] && to[m + 1] > to[m]) {
        std::memcpy(out.raw() + to[m], staged[m].get(), to[m + 1] - to[m]);
      }
    }
    c.meet();
  });
  return out;
}

std::vector<int64_t> Comm::all_to_all_counts(const std::vector<int64_t>& counts) const {
  const int n = size();
  check(counts.size() % n == 0, "all_to_all_counts: the same number of counts for each member");
  const int64_t k = int64_t(counts.size()) / n;
  std::vector<int64_t> result(counts.size());
  collective(group_, rank_, "counts", [&](Call& c) {
    for (int m = 0; m < n; ++m) c.count(m, k * 8);
    // Everyone's counts to everyone: they are few, and each process needs fewer messages this way.
    const int64_t mine = int64_t(counts.size()) * 8;
    std::vector<int64_t> all(counts.size() * n);
    gather(c, reinterpret_cast<const std::byte*>(counts.data()), equal_parts(n, mine),
           reinterpret_cast<std::byte*>(all.data()));
    for (int m = 0; m < n; ++m) {
      std::copy_n(all.begin() + (m * n + rank_) * k, k, result.begin() + m * k);
    }
  });
  return result;
}

}  // namespace switchyard::dist
