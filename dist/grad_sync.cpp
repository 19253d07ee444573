// Gradient sums in flat buckets, and the global norm. The tree works element by element, so how tensors are
// packed into buckets does not touch any bit.
#include "dist/grad_sync.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "tensor/kernels.h"

namespace switchyard::dist {
namespace {

constexpr int64_t kBucketBytes = int64_t{4} << 20;
constexpr int64_t kNormBlock = 4096;  // elements, as in squared_norm_blocks

// Sums small tensors of one type together.
void reduce_bucket(const Comm& comm, std::vector<Tensor>& bucket) {
  if (bucket.size() == 1) {
    comm.all_reduce(bucket[0]);
  } else if (!bucket.empty()) {
    int64_t n = 0;
    for (const Tensor& t : bucket) n += t.numel();
    Tensor flat = Tensor::empty({n}, bucket[0].dtype());
    std::byte* at = flat.raw();
    for (const Tensor& t : bucket) at = std::copy_n(t.raw(), t.bytes(), at);
    comm.all_reduce(flat);
    at = flat.raw();
    for (Tensor& t : bucket) {
      std::copy_n(at, t.bytes(), t.raw());
      at += t.bytes();
    }
  }
  bucket.clear();
}

void reduce_all(const Comm& comm, const std::vector<GradEntry>& entries, bool sharded) {
  if (comm.size() == 1) return;
  std::vector<Tensor> bucket;
  int64_t bytes = 0;
  for (const GradEntry& e : entries) {
    if (e.sharded != sharded) continue;
    check(e.grad.defined(), concat("no gradient for ", e.path));
    if (!bucket.empty() &&
        (bytes + e.grad.bytes() > kBucketBytes || bucket[0].dtype() != e.grad.dtype())) {
      reduce_bucket(comm, bucket);
      bytes = 0;
    }
    bucket.push_back(e.grad);
    bytes += e.grad.bytes();
  }
  reduce_bucket(comm, bucket);
}

int64_t blocks_of(const Tensor& t) { return (t.numel() + kNormBlock - 1) / kNormBlock; }

}  // namespace

void sync_gradients(const Mesh& mesh, std::vector<GradEntry>& entries) {
  reduce_all(mesh.world, entries, false);
  reduce_all(mesh.replicas, entries, true);
  if (mesh.expert_grad_scale == 1) return;
  for (GradEntry& e : entries)
    if (e.sharded) scale(mesh.expert_grad_scale, e.grad, e.grad);
}

double gradient_norm(const Comm& expert, const std::vector<GradEntry>& entries) {
  std::vector<const GradEntry*> order;
  for (const GradEntry& e : entries) order.push_back(&e);
  std::sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->path < b->path; });

  // The sums of the shards held here: for each tensor and expert its blocks. All members hold equally many,
  // so one all_gather brings all experts' sums to everyone, in the order of the experts.
  std::vector<double> shard;
  for (const GradEntry* e : order) {
    if (!e->sharded) continue;
    check(e->rows == e->grad.dim(0) && e->first_row == expert.rank() * e->rows,
          concat(e->path, ": the members of the exchange group must hold the experts in order"));
    for (int64_t row = 0; row < e->rows; ++row) {
      const Tensor grad = e->grad.slice(row, row + 1);
      Tensor sums = Tensor::empty({blocks_of(grad)}, DType::F64);
      squared_norm_blocks(grad, sums);
      shard.insert(shard.end(), sums.data<double>(), sums.data<double>() + sums.numel());
    }
  }
  const int64_t per_member = int64_t(shard.size());
  const Tensor all = expert.all_gather(Tensor::of(shard, {per_member}));  // [members * per_member]

  double total = 0;
  int64_t begin = 0;  // of this tensor within a member's sums
  for (const GradEntry* e : order) {
    if (e->sharded) {
      const int64_t n = e->rows * (e->rows ? blocks_of(e->grad.slice(0, 1)) : 0);
      for (int m = 0; m < expert.size(); ++m) {
        const double* sums = all.data<double>() + m * per_member + begin;
        total = std::accumulate(sums, sums + n, total);
      }
      begin += n;
    } else {
      Tensor sums = Tensor::empty({blocks_of(e->grad)}, DType::F64);
      squared_norm_blocks(e->grad, sums);
      total = std::accumulate(sums.data<double>(), sums.data<double>() + sums.numel(), total);
    }
  }
  return std::sqrt(total);
}

}  // namespace switchyard::dist
