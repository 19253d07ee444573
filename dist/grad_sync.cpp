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
void reduce_bucket(const Comm& comm, std::vector<Tensor>& bucket, bool fast) {
  const auto sum = [&](Tensor& t) { fast ? comm.all_reduce_fast(t) : comm.all_reduce(t); };
  if (bucket.size() == 1) return sum(bucket[0]);
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
  sum(flat);
  copy_each(true);
}

void reduce_all(const Comm& comm, const std::vector<GradEntry>& entries, bool sharded, bool fast) {
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
  for (std::vector<Tensor>& bucket : buckets) reduce_bucket(comm, bucket, fast);
}

// f64 sums of squares over blocks of elements, of all entries in order. A block ends with its expert.
// size[i]: blocks of entry i
std::vector<double> block_sums(const std::vector<GradEntry>& entries, std::vector<int64_t>& size) {
  std::vector<Tensor> rows;  // each ends with a block of its own
  int64_t blocks = 0;
  const auto blocks_of = [](const Tensor& t) { return (t.numel() + kNormBlock - 1) / kNormBlock; };
  for (const GradEntry& e : entries) {
    const int64_t before = blocks, parts = e.sharded ? e.grad.dim(0) : 1;
    for (int64_t i = 0; i < parts; ++i) {
      rows.push_back(e.sharded ? e.grad.slice(i, i + 1) : e.grad);
      blocks += blocks_of(rows.back());
    }
    size.push_back(blocks - before);
  }
  if (rows.empty()) return {};
  const Tensor sums = Tensor::empty({blocks}, DType::F64, rows[0].device());
  int64_t at = 0;
  for (const Tensor& grad : rows) {
    Tensor own = sums.slice(at, at + blocks_of(grad));
    squared_norm_blocks(grad, own);
    at += own.numel();
  }
  return sums.to_vector<double>();
}

}  // namespace

void sync_gradients(const Mesh& mesh, std::vector<GradEntry>& entries) {
  reduce_all(mesh.world, entries, false, mesh.fast_sums);
  reduce_all(mesh.replicas, entries, true, mesh.fast_sums);
  if (mesh.expert_grad_scale == 1) return;
  for (GradEntry& e : entries)
    if (e.sharded) scale(mesh.expert_grad_scale, e.grad, e.grad);
}

double gradient_norm(const Comm& expert, const std::vector<GradEntry>& entries) {
  std::vector<int64_t> size;
  const std::vector<double> own = block_sums(entries, size);
  std::vector<double> sharded;  // of the experts held here, then of all
  auto next = own.begin();
  for (size_t i = 0; i < entries.size(); next += size[i++])
    if (entries[i].sharded) sharded.insert(sharded.end(), next, next + size[i]);
  const int64_t held = int64_t(sharded.size());
  if (held > 0) sharded = expert.all_gather(Tensor::of(sharded)).to_vector<double>();

  double total = 0;
  int64_t at = 0;  // in every rank's part
  next = own.begin();
  for (size_t i = 0; i < entries.size(); next += size[i++]) {
    if (!entries[i].sharded) {
      total = std::accumulate(next, next + size[i], total);
      continue;
    }
    for (int rank = 0; rank < expert.size(); ++rank) {
      const auto part = sharded.begin() + rank * held + at;
      total = std::accumulate(part, part + size[i], total);
    }
    at += size[i];
  }
  return std::sqrt(total);
}

}  // namespace switchyard::dist
