// The collectives on tensors of the GPU. The bytes go from GPU to GPU over a PeerLink: by NCCL where every rank has
// a GPU of its own, else as in shared_gpus.h. Sums over ranks are the same fixed tree: every member gets its segment
// of all others and adds them up, so bits do not depend on the way.
#include <set>

#include "dist/call.h"
#include "dist/runtime.h"
#include "dist/shared_gpus.h"
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

std::string open_gpu_ways(const Comm& world, Device device) {
  const bool on_gpu = device == Device::CUDA;
  const std::vector<std::string> places =  // of each rank's GPU
      world.all_gather_bytes(on_gpu ? concat(host_name(), " ", cuda::device_id()) : "");
  const int n = world.size(), without = int(std::count(places.begin(), places.end(), ""));
  user_check(
      without == 0 || without == n,
      concat(without, " of ", n, " ranks have no GPU: --device cpu, or leave their machines out"));
  if (!on_gpu) return "";
  if (n == 1) return "none, one rank";
  const Tensor devices = world.all_gather(Tensor::of<int64_t>({cuda::device_index()}));  // [n]
  std::vector<int> here;
  for (const int m : world.group_->here()) here.push_back(int(devices.data<int64_t>()[m]));
  const bool reachable = cuda::open_to(here);
  const int gpus = int(std::set(places.begin(), places.end()).size());
  user_check(reachable,
             "ranks of this process have GPUs that cannot reach each other's memory: start one "
             "process for each GPU");
  const bool has_nccl = gpus == n && world.rank() == 0 && !cuda::new_link_id().empty();
  if (world.all_reduce(has_nccl, Reduce::Max)) {
    world.group_->world->nccl = true;
    world.link();
    return "NCCL, one GPU a rank";
  }
  const int processes = int(world.group_->members_of.size());
  return concat(processes == n ? "" : "device copies", processes == 1 || processes == n ? "" : ", ",
                processes == 1 ? "" : "MPI through pinned memory between processes", "; ", n,
                " ranks on ", gpus, gpus == 1 ? " GPU" : " GPUs");
}

// To other processes without NCCL the host carries the rows.
bool Comm::exchange_overlaps(Device device, ExchangeMode mode) const {
  return device == Device::CUDA && size() > 1 && mode == ExchangeMode::Rows &&
         (group_->world->nccl || group_->members_of.size() == 1);
}

// The group's link of this member, made at the first use
cuda::PeerLink& Comm::link() const {
  std::unique_ptr<cuda::PeerLink>& link = group_->slots[rank_].link;
  if (!link && group_->world->nccl) {
    const std::string id = all_gather_bytes(rank_ == 0 ? cuda::new_link_id() : "")[0];
    link = cuda::connect_peers(id, rank_, size());
  } else if (!link) {
    link = share_gpus(*group_, rank_);
  }
  return *link;
}

// receive[m] = what member m sends here
cuda::Event Comm::gpu_exchange(const char* kind, const std::vector<Part>& send,
                               const std::vector<Part>& receive) const {
  cuda::PeerLink& way = link();
  cuda::Event arrived;
  collective(kind, [&](Call& c) {
    for (int m = 0; m < size(); ++m)
      if (send[m].bytes) {
        const bool carried = m != rank_ && (c.g.world->nccl || !c.g.is_local(m));
        c.count(m, send[m].bytes);
        c.traffic(m).carried_bytes += carried ? send[m].bytes : 0;
      }
    arrived = way.exchange(send, receive);
  });
  return arrived;
}

void Comm::gpu_broadcast(Tensor& t, int root) const {
  if (size() == 1) return;
  std::vector<Part> send(size()), receive(size());
  if (rank_ == root)
    for (int m = 0; m < size(); ++m) send[m] = {t.raw(), m == root ? 0 : t.bytes()};
  else receive[root] = {t.raw(), t.bytes()};
  cuda::compute_after(gpu_exchange("broadcast", send, receive));
}

void Comm::gpu_all_reduce(Tensor& t, Reduce op) const {
  if (size() == 1) return;
  if (op != Reduce::Sum) {  // of few numbers
    Tensor host = t.to(Device::CPU);
    all_reduce(host, op);
    return assign(host, t);
  }
  const int n = size();
  std::vector<int64_t> bytes;  // of each member's segment
  for (int m = 0; m < n; ++m) bytes.push_back(segment_bytes(t, m, n));
  const int64_t own = bytes[rank_] / size_of(t.dtype());
  const Tensor values = Tensor::empty({n, own}, t.dtype(), t.device());
  const std::vector<Part> segments = parts_of(t, bytes);
  cuda::compute_after(gpu_exchange("all_reduce", segments,
                                   parts_of(values, std::vector<int64_t>(n, bytes[rank_]))));
  tree_sum(values, 0, n);
  cuda::compute_after(
      gpu_exchange("all_reduce", std::vector<Part>(n, Part{values.raw(), bytes[rank_]}), segments));
}

void Comm::all_reduce_fast(Tensor& t) const {
  if (size() == 1) return;
  cuda::PeerLink& way = link();
  cuda::Event summed;
  const int64_t own = segment_bytes(t, rank_, size());
  collective("all_reduce", [&](Call& c) {
    for (int m = 0; m < size(); ++m) {
      if (m == rank_) continue;
      const int64_t theirs = segment_bytes(t, m, size());
      c.count(m, theirs), c.count(m, own);
      c.traffic(m).carried_bytes += theirs + own;
    }
    summed = way.sum(t);
  });
  cuda::compute_after(summed);
}

Tensor Comm::gpu_reduce_scatter(const Tensor& t) const {
  const int n = size();
  check(t.rank() > 0 && t.dim(0) % n == 0,
        concat("reduce_scatter: ", to_string(t.shape()), " has no equal rows for ", n, " members"));
  const Tensor values = Tensor::empty({n, t.numel() / n}, t.dtype(), t.device());
  const std::vector<int64_t> bytes(n, t.bytes() / n);
  cuda::compute_after(gpu_exchange("reduce_scatter", parts_of(t, bytes), parts_of(values, bytes)));
  tree_sum(values, 0, n);
  Shape shape = t.shape();
  shape[0] /= n;
  return values.slice(0, 1).reshape(shape).clone();
}

Tensor Comm::gpu_all_gather(const Tensor& t) const {
  Shape shape = t.shape();
  shape.at(0) *= size();
  const Tensor out = Tensor::empty(shape, t.dtype(), t.device());
  cuda::compute_after(gpu_exchange("all_gather",
                                   std::vector<Part>(size(), Part{t.raw(), t.bytes()}),
                                   parts_of(out, std::vector<int64_t>(size(), t.bytes()))));
  return out;
}

Arriving Comm::gpu_all_to_all_v(const Tensor& send, const std::vector<int64_t>& send_counts,
                                const std::vector<int64_t>& recv_counts, const Tensor& out) const {
  const int64_t row =
      numel_of(Shape(send.shape().begin() + 1, send.shape().end())) * size_of(send.dtype());
  const auto bytes = [row](std::vector<int64_t> counts) {
    for (int64_t& count : counts) count *= row;
    return counts;
  };
  return {out, send,
          gpu_exchange("all_to_all", parts_of(send, bytes(send_counts)),
                       parts_of(out, bytes(recv_counts)))};
}

}  // namespace switchyard::dist
