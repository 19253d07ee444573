// An MoE layer whose rows travel in chunks: everything it makes, to be compared with the same in one exchange.
#pragma once
#include <gtest/gtest.h>

#include "moe/moe_layer.h"
#include "tests/moe/small_block.h"

namespace switchyard::moe {

// Two runs of a layer with 6 experts, forward and backward, as two strata would: output, gradients of the rows, of
// the gate and of the parameters, on the host. Rank 1 has no rows; expert 4 gets none.
inline std::vector<Tensor> run_chunked(dist::Runtime& rt, int64_t chunks) {
  const int64_t E = 6, S = rt.world.rank() == 1 ? 0 : 13, k = 2;
  const dist::Mesh mesh = dist::make_mesh(rt.world, E);
  MoeLayer layer(mesh, {.width = kM, .hidden = kF}, {.dropout = 0.1, .chunks = chunks});
  initialize(layer, 3);
  std::vector<Tensor> made;
  std::vector<Var> roots;
  move_to(layer, rt.device);
  std::vector<Var> leaves;
  for (int run = 0; run < 2; ++run) {
    RandomSequence random(random_stream(9, "routing", rt.world.rank(), run));
    std::vector<int64_t> offsets{0}, expert, order(S * k), token(S);
    for (int64_t s = 0; s < S; ++s) {
      const int64_t first = random.below(4);
      for (int64_t e : {first, (first + 1 + int64_t(random.below(3))) % 4})
        expert.push_back(e == 3 ? 5 : e);
      offsets.push_back(int64_t(expert.size()));
    }
    std::iota(order.begin(), order.end(), 0);
    std::iota(token.begin(), token.end(), 0);
    const auto leaf = [&](Shape shape, int seed) {
      return leaves.emplace_back(
          normal(std::move(shape), seed + run + rt.world.rank()).to(DType::F32).to(rt.device),
          true);
    };
    const Var gate = leaf({S * k}, 20), x = leaf({S, kM}, 40);
    const Routing r{Tensor::of(offsets), Tensor::of(expert, {S * k}), gate,
                    Tensor::of(order, {S * k}), Normalize::None};
    ForwardContext ctx;
    ctx.training = true;
    // x is used before and after the layer, too: the order in which its gradients are added shows.
    const Var before = scale(x, 0.3);
    const Var y = layer.run(x, r, 5, Tensor::of(token, {S}), ctx).out;
    roots.push_back(add(add(y, before), scale(x, 0.7)));
    made.push_back(roots.back().data());
  }
  std::vector<Tensor> seeds;
  for (const Var& y : roots)
    seeds.push_back(normal(y.shape(), 60 + rt.world.rank()).to(DType::F32).to(rt.device));
  backward(roots, seeds);
  for (const Var& x : leaves) made.push_back(x.grad());
  for (auto& [path, p] : parameters(layer)) made.push_back(p->var.grad());
  return to_host(made);
}

// Bits are those of one exchange.
inline void expect_chunks_change_nothing(int ranks, const std::string& device) {
  dist::run_ranks(
      ranks,
      [&](dist::Runtime& rt) {
        const std::vector<Tensor> whole = run_chunked(rt, 1);
        for (int64_t chunks : {0, 2, 3}) {
          const std::vector<Tensor> cut = run_chunked(rt, chunks);
          for (size_t i = 0; i < whole.size(); ++i)
            EXPECT_EQ(cut[i].to_vector<float>(), whole[i].to_vector<float>())
                << "number " << i << " in " << chunks << " chunks on " << ranks << " ranks";
        }
      },
      0, device);
}

}  // namespace switchyard::moe
