// The MoE layer on the GPU, forward and backward in f32 and bf16, against the double loop over tokens and choices.
#include "tests/cuda/compare.h"
#include "tests/moe/small_block.h"
#include "tests/support/brute_force_moe.h"

namespace switchyard::moe {
namespace {

constexpr int64_t kTokens = 40, kExperts = 4, kWidth = 32, kHidden = 48;

// expert_of(s, j): choice j of token s
void expect_double_loop(dist::Runtime& rt, DType type, int64_t choices_each, int64_t capacity,
                        const std::function<int64_t(int64_t, int64_t)>& expert_of) {
  MoeLayer layer(dist::make_mesh(rt.world, kExperts), {.width = kWidth, .hidden = kHidden}, {});
  initialize(layer, 3);
  const auto values = [&](const char* path) { return doubles(param_of(layer, path).var.data()); };
  const brute_force::Weights weights = {values("experts/fc1/weight"), values("experts/fc1/bias"),
                                        values("experts/fc2/weight"), values("experts/fc2/bias")};
  move_to(layer, rt.device);

  const int64_t n = kTokens * choices_each;
  std::vector<int64_t> offsets{0}, expert, order(static_cast<size_t>(n)), token(kTokens);
  for (int64_t s = 0; s < kTokens; ++s) {
    for (int64_t j = 0; j < choices_each; ++j) expert.push_back(expert_of(s, j));
    offsets.push_back(int64_t(expert.size()));
  }
  std::iota(order.begin(), order.end(), 0);
  std::iota(token.begin(), token.end(), 0);
  const Tensor rows = normal({kTokens, kWidth}, 40).to(type),
               dy = normal({kTokens, kWidth}, 60).to(type);
  const Var gate(normal({n}, 20).to(DType::F32).to(rt.device), true), x(rows.to(rt.device), true);
  const Routing routing{Tensor::of(offsets), Tensor::of(expert), gate, Tensor::of(order),
                        Normalize::None};
  ForwardContext ctx;
  const MoeLayer::Output o = layer.run(x, routing, capacity, Tensor::of(token), ctx);
  backward({o.out}, {dy.to(rt.device)});

  const std::vector<double> weight = doubles(gate.data());
  std::vector<brute_force::Choice> choices;
  std::vector<double> dweight(weight.size());  // 0 where dropped
  for (int64_t i = 0; i < n; ++i)
    if (o.plan.slot[i] >= 0) choices.push_back({i / choices_each, expert[i], weight[i]});
  const brute_force::Result want =
      brute_force::moe(doubles(rows), choices, weights, doubles(dy), kWidth, kHidden);
  for (int64_t i = 0, c = 0; i < n; ++i)
    if (o.plan.slot[i] >= 0) dweight[i] = want.dweight[c++];

  const double tolerance = type == DType::F32 ? 1e-5 : 2e-2;
  const auto compare = [&](const char* what, const Tensor& got, const std::vector<double>& values) {
    EXPECT_TRUE(near(got, Tensor::of(values, got.shape()), tolerance))
        << what << " in " << name_of(type);
  };
  compare("y", o.out.data(), want.y);
  compare("dx", x.grad(), want.dx);
  compare("dweight", gate.grad(), dweight);
  compare("fc1/weight", param_of(layer, "experts/fc1/weight").var.grad(), want.d.w1);
  compare("fc1/bias", param_of(layer, "experts/fc1/bias").var.grad(), want.d.b1);
  compare("fc2/weight", param_of(layer, "experts/fc2/weight").var.grad(), want.d.w2);
  compare("fc2/bias", param_of(layer, "experts/fc2/bias").var.grad(), want.d.b2);
}

TEST(CudaMoe, EqualsTheDoubleLoop) {
  dist::run_ranks(
      1,
      [](dist::Runtime& rt) {
        for (const DType type : {DType::F32, DType::BF16}) {
          const auto balanced = [](int64_t s, int64_t j) { return (2 * s + j) % kExperts; };
          expect_double_loop(rt, type, 2, kTokens, balanced);
          expect_double_loop(rt, type, 2, 7, balanced);  // drops
          expect_double_loop(rt, type, 1, kTokens,
                             [](int64_t, int64_t) { return 2; });  // one gets all
          expect_double_loop(rt, type, 2, 3, [](int64_t, int64_t j) { return 3 * j; });  // and two
        }
      },
      0, "cuda");
}

}  // namespace
}  // namespace switchyard::moe
