// Gradient sums in flat buckets, and the global norm. The tree works element by element, so how tensors are
// packed into buckets does not touch any bit.
#include "dist/grad_sync.h"

#include <cmath>
#include <numeric>

#include "tensor/kernels.h"

namespace switchyard::dist {
namespace {

constexpr int64_t kBucketBytes = int64_t{4} << 20;
constexpr int64_t kNormBlock = 4096;  // elements, as in squared_norm_blocks

// Sums tensors of one type together.
void reduce_bucket(const Comm& comm, std::vector<Tensor>& bucket) {
  if (bucket.size() == 1) return comm.all_reduce(bucket[0]);
  int64_t n = 0;
  for (const Tensor& t : bucket) n += t.numel();
  Tensor flat = Tensor::empty({n}, bucket[0].dtype(), bucket[0].device());
  const auto copy_each = [&](bool out) {
    int64_t at = 0;
    for (Tensor& t : bucket) {
      Tensor part = flat.slice(at, at + t.numel());
      out ? convert(part, t) : convert(t, part);
      at += t.numel();
    }
  };
  copy_each(false);
  comm.all_reduce(flat);
  copy_each(true);
}

void reduce_all(const Comm& comm, const std::vector<GradEntry>& entries, bool sharded) {
  if (comm.size() == 1) return;
  std::vector<std::vector<Tensor>> buckets;
  int64_t bytes = 0;
  for (const GradEntry& e : entries) {
    if (e.sharded != sharded) continue;
    bytes += e.grad.bytes();
    if (buckets.empty() || bytes > kBucketBytes || buckets.back()[0].dtype() != e.grad.dtype()) {
      buckets.emplace_back();
      bytes = e.grad.bytes();
    }
    buckets.back().push_back(e.grad);
  }
  for (std::vector<Tensor>& bucket : buckets) reduce_bucket(comm, bucket);
}

// f64 sums of squares over blocks of elements. A block ends with its expert.
std::vector<double> block_sums(const GradEntry& e) {
  std::vector<double> sums;
  const Tensor rows = e.sharded ? e.grad : e.grad.reshape({1, e.grad.numel()});
  for (int64_t i = 0; i < rows.dim(0); ++i) {
    const Tensor grad = rows.slice(i, i + 1);
    Tensor blocks =
        Tensor::empty({(grad.numel() + kNormBlock - 1) / kNormBlock}, DType::F64, grad.device());
    squared_norm_blocks(grad, blocks);
    const std::vector<double> values = blocks.to_vector<double>();
    sums.insert(sums.end(), values.begin(), values.end());
  }
  return sums;
}

}  // namespace

void sync_gradients(const Mesh& mesh, std::vector<GradEntry>& entries) {
  reduce_all(mesh.world, entries, false);
  reduce_all(mesh.replicas, entries, true);
  if (mesh.expert_grad_scale == 1) return;
  for (GradEntry& e : entries)
    if (e.sharded) scale(mesh.expert_grad_scale, e.grad, e.grad);
}

double gradient_norm(const Comm& expert, const std::vector<GradEntry>& entries) {
  double total = 0;
  for (const GradEntry& e : entries) {
    std::vector<double> sums = block_sums(e);
    if (e.sharded) sums = expert.all_gather(Tensor::of(sums)).to_vector<double>();
    total = std::accumulate(sums.begin(), sums.end(), total);
  }
  return std::sqrt(total);
}

}  // namespace switchyard::dist
