#include "nn/context.h"

#include "tensor/kernels.h"

namespace switchyard {
namespace {

Tensor take_sentences(const Tensor& cache, const std::vector<int64_t>& index) {  // [B, T, c]
  const int64_t time = cache.dim(1), width = cache.dim(2);
  Tensor y = Tensor::empty({int64_t(index.size()), time, width}, cache.dtype());
  Tensor flat = y.reshape({int64_t(index.size()), time * width});
  gather_rows(cache.reshape({cache.dim(0), time * width}), Tensor::of(index), flat);
  return y;
}

bool is_identity(const std::vector<int64_t>& index, int64_t size) {
  if (int64_t(index.size()) != size) return false;
  for (int64_t i = 0; i < size; ++i)
    if (index[i] != i) return false;
  return true;
}

}  // namespace

void DecodeState::reorder(const std::vector<int64_t>& index) {
  // A sentence's hypotheses stay together, so the first of each group names the sentence.
  std::vector<int64_t> sentences(index.size() / beams);
  for (size_t i = 0; i < sentences.size(); ++i) sentences[i] = index[i * beams] / beams;
  for (auto& [path, kv] : cache) {
    const auto& take = kv.of_encoder ? sentences : index;
    if (is_identity(take, kv.k.dim(0))) continue;
    kv.k = take_sentences(kv.k, take);
    kv.v = take_sentences(kv.v, take);
  }
}

void ForwardContext::count(const std::string& name, const std::vector<double>& values) {
  if (recomputing) return;
  auto& total = statistics[site(name)];
  if (total.size() < values.size()) total.resize(values.size(), 0.0);
  for (size_t i = 0; i < values.size(); ++i) total[i] += values[i];
}

}  // namespace switchyard
