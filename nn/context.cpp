#include "nn/context.h"

#include <algorithm>
#include <ranges>

#include "autograd/ops.h"

namespace switchyard {
namespace {

Tensor take_sentences(const Tensor& cache, const std::vector<int64_t>& index) {  // [B, T, c]
  const int64_t time = cache.dim(1), width = cache.dim(2);
  const Var flat(cache.reshape({cache.dim(0), time * width}));
  const Tensor taken = gather_rows(flat, Tensor::of(index)).data();
  return taken.reshape({int64_t(index.size()), time, width});
}

}  // namespace

void DecodeState::reorder(const std::vector<int64_t>& index) {
  // A sentence's hypotheses stay together, so the first of each group names the sentence.
  std::vector<int64_t> sentences(index.size() / beams);
  for (size_t i = 0; i < sentences.size(); ++i) sentences[i] = index[i * beams] / beams;
  for (auto& [path, kv] : cache) {
    const auto& take = kv.of_encoder ? sentences : index;
    if (std::ranges::equal(take, std::views::iota(int64_t(0), kv.k.dim(0)))) continue;
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
