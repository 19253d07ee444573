// The collectives on tensors of the GPU. Where every member has a GPU of its own the bytes go from GPU to GPU
// (PeerLink); else a copy on the host takes the way of the others. Sums over ranks are the same fixed tree:
// every member gets its segment of all others and adds them up, so bits do not depend on the way.
#include <set>

#include "dist/call.h"
#include "dist/runtime.h"
#include "dist/tree_reduce.h"
#include "tensor/device.h"
#include "tensor/kernels.h"

namespace switchyard::dist {
namespace {

using Part = cuda::PeerLink::Part;

// Row m of t [n, ...], or t cut at the given numbers of bytes
std::vector<Part> parts_of(const Tensor& t, const std::vector<int64_t>& bytes) {
  std::vector<Part> parts;
  std::byte* at = t.raw();
  for (const int64_t size : bytes) {
    parts.push_back({at, size});
    at += size;
  }
  return parts;
}

// The tree of tree_reduce.h over the rows begin .. end-1 of values [n, k], in place: the result is row begin.
void tree_sum(const Tensor& values, int begin, int end) {
  if (end - begin < 2) return;
  const int middle = begin + tree_split(end - begin);
  tree_sum(values, begin, middle);
  tree_sum(values, middle, end);
  Tensor a = values.slice(begin, begin + 1);
  add(a, values.slice(middle, middle + 1), a);
}

}  // namespace

// The group's link of this member, made at the first use; nullptr: members share GPUs, or no NCCL.
cuda::PeerLink* Comm::link() const {
  CommGroup::Slot& slot = group_->slots[rank_];
  if (!slot.link_known) {
    const auto gpus = all_gather_bytes(concat(host_name(), " ", cuda::device_id()));
    const bool own = size() > 1 && std::set(gpus.begin(), gpus.end()).size() == gpus.size();
    const std::string id = all_gather_bytes(own && rank_ == 0 ? cuda::new_link_id() : "")[0];
    if (!id.empty()) slot.link = cuda::connect_peers(id, rank_, size());
    cuda::set_watch([world = group_->world] {
      if (world->poisoned) throw Aborted("another rank failed");
    });
    slot.link_known = true;
  }
  return slot.link.get();
}

// receive[m] = what member m sends here
void Comm::gpu_exchange(const char* kind, const std::vector<Part>& send,
                        const std::vector<Part>& receive) const {
  collective(kind, [&](Call& c) {
    for (int m = 0; m < size(); ++m)
      if (send[m].bytes) {
        c.count(m, send[m].bytes);
        c.traffic(m).carried_bytes += m == rank_ ? 0 : send[m].bytes;
      }
    link()->exchange(send, receive);
  });
}

void Comm::gpu_broadcast(Tensor& t, int root) const {
  if (!link()) {
    Tensor host = t.to(Device::CPU);
    broadcast(host, root);
    return assign(host, t);
  }
  std::vector<Part> send(size()), receive(size());
  if (rank_ == root)
    for (int m = 0; m < size(); ++m) send[m] = {t.raw(), m == root ? 0 : t.bytes()};
  else receive[root] = {t.raw(), t.bytes()};
  gpu_exchange("broadcast", send, receive);
}

void Comm::gpu_all_reduce(Tensor& t, Reduce op) const {
  if (!link() || op != Reduce::Sum) {
    Tensor host = t.to(Device::CPU);
    all_reduce(host, op);
    return assign(host, t);
  }
  const int n = size();
  std::vector<int64_t> bytes;  // of each member's segment
  for (int m = 0; m < n; ++m)
    bytes.push_back((t.numel() * (m + 1) / n - t.numel() * m / n) * size_of(t.dtype()));
  const int64_t own = bytes[rank_] / size_of(t.dtype());
  const Tensor values = Tensor::empty({n, own}, t.dtype(), t.device());
  const std::vector<Part> segments = parts_of(t, bytes);
  gpu_exchange("all_reduce", segments, parts_of(values, std::vector<int64_t>(n, bytes[rank_])));
  tree_sum(values, 0, n);
  gpu_exchange("all_reduce", std::vector<Part>(n, Part{values.raw(), bytes[rank_]}), segments);
}

Tensor Comm::gpu_reduce_scatter(const Tensor& t) const {
  if (!link()) return reduce_scatter(t.to(Device::CPU)).to(Device::CUDA);
  const int n = size();
  check(t.rank() > 0 && t.dim(0) % n == 0,
        concat("reduce_scatter: ", to_string(t.shape()), " has no equal rows for ", n, " members"));
  const Tensor values = Tensor::empty({n, t.numel() / n}, t.dtype(), t.device());
  const std::vector<int64_t> bytes(n, t.bytes() / n);
  gpu_exchange("reduce_scatter", parts_of(t, bytes), parts_of(values, bytes));
  tree_sum(values, 0, n);
  Shape shape = t.shape();
  shape[0] /= n;
  return values.slice(0, 1).reshape(shape).clone();
}

Tensor Comm::gpu_all_gather(const Tensor& t) const {
  if (!link()) return all_gather(t.to(Device::CPU)).to(Device::CUDA);
  Shape shape = t.shape();
  shape.at(0) *= size();
  const Tensor out = Tensor::empty(shape, t.dtype(), t.device());
  gpu_exchange("all_gather", std::vector<Part>(size(), Part{t.raw(), t.bytes()}),
               parts_of(out, std::vector<int64_t>(size(), t.bytes())));
  return out;
}

Tensor Comm::gpu_all_to_all_v(const Tensor& send, const std::vector<int64_t>& send_counts,
                              const std::vector<int64_t>& recv_counts, ExchangeMode mode,
                              int64_t capacity) const {
  if (mode == ExchangeMode::Padded ||
      !link())  // padded slots only serve to compare with the references
    return all_to_all_v(send.to(Device::CPU), send_counts, recv_counts, mode, capacity)
        .to(Device::CUDA);
  Shape shape = send.shape();
  shape.at(0) = std::accumulate(recv_counts.begin(), recv_counts.end(), int64_t{0});
  const Tensor out = Tensor::empty(shape, send.dtype(), send.device());
  const int64_t row = numel_of(Shape(shape.begin() + 1, shape.end())) * size_of(send.dtype());
  const auto bytes = [row](std::vector<int64_t> counts) {
    for (int64_t& count : counts) count *= row;
    return counts;
  };
  gpu_exchange("all_to_all", parts_of(send, bytes(send_counts)), parts_of(out, bytes(recv_counts)));
  return out;
}

}  // namespace switchyard::dist
