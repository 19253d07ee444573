// EOM, FOM, CMR, padding mask and local drop: specs/hmoe.md 2.9 and 7.11, beside the golden fixtures.
#include <gtest/gtest.h>

#include <cmath>

#include "nn/loss.h"
#include "tests/moe/small_block.h"

namespace switchyard::moe {
namespace {

// The block's output without its skip, i.e. what the experts add, in vanilla MoE.
std::vector<double> added(const HmoeConfig& c, const dist::Comm& world, const Tensor& x,
                          bool training, int64_t update = 0,
                          std::vector<NamedLoss>* losses = nullptr) {
  ForwardContext ctx;
  ctx.training = training;
  ctx.update = update;
  ctx.layout.batch = 1;
  std::vector<double> y = doubles(block_of(c, world)->forward(Var(x), {}, ctx).data());
  const std::vector<double> skip = doubles(x);
  for (size_t i = 0; i < y.size(); ++i) y[i] -= skip[i];
  if (losses) *losses = ctx.losses;
  return y;
}

class Masking : public testing::TestWithParam<bool> {};  // eom, or fom
TEST_P(Masking, ScalesInEvaluationAndAveragesToThatInTraining) {
  on_one_rank([&](const dist::Comm& world) {
    const Tensor x = normal({5, kM}, 1);
    HmoeConfig plain = config_of(4, 0);
    plain.moe_capacity_factor = 4;  // no drops: one token's mask changes no other
    plain.moe_eval_capacity_token_fraction = 1;
    HmoeConfig masked = plain;
    const double rate = 0.25;
    (GetParam() ? masked.moe_eom.emplace() : masked.moe_fom) = rate;
    const std::vector<double> all = added(plain, world, x, true);
    const std::vector<double> eval = added(masked, world, x, false);
    for (size_t i = 0; i < all.size(); ++i) EXPECT_NEAR(eval[i], (1 - rate) * all[i], 1e-12);

    const int64_t updates = 4000;
    std::vector<double> mean(all.size());
    double scale = 0;
    for (int64_t u = 0; u < updates; ++u) {
      const std::vector<double> y = added(masked, world, x, true, u);
      for (size_t i = 0; i < y.size(); ++i) mean[i] += y[i] / double(updates);
    }
    for (double v : all) scale = std::max(scale, std::abs(v));
    for (size_t i = 0; i < all.size(); ++i)
      EXPECT_NEAR(mean[i], (1 - rate) * all[i], 4 * scale * std::sqrt(rate / double(updates)));
  });
}
TEST_P(Masking, TheMasksOfATokensChoices) {
  on_one_rank([&](const dist::Comm& world) {
    HmoeConfig masked = config_of(4, 0);
    masked.moe_capacity_factor = 4;
    (GetParam() ? masked.moe_eom.emplace() : masked.moe_fom) = 0.5;
    const int64_t S = 400;
    const std::vector<double> y = added(masked, world, normal({S, kM}, 2), true);
    int64_t empty = 0;
    for (int64_t s = 0; s < S; ++s) empty += y[s * kM] == 0;
    // EOM draws for each of the two choices, FOM once for their sum
    EXPECT_NEAR(double(empty) / double(S), GetParam() ? 0.25 : 0.5, 0.08);
  });
}
INSTANTIATE_TEST_SUITE_P(Rates, Masking, testing::Bool(),
                         [](const auto& info) { return info.param ? "Eom" : "Fom"; });

TEST(Cmr, GateMixesSharedFfnAndMoe) {
  on_one_rank([](const dist::Comm& world) {
    const Tensor x = normal({9, kM}, 3);
    HmoeConfig c = config_of(4, 0);
    const std::vector<double> moe = added(c, world, x, true);
    c.moe_cmr = true, c.cmr_gate_loss_p = 0.8;
    const auto gated = [&](double bias, std::vector<NamedLoss>& losses) {
      ForwardContext ctx;
      ctx.training = true;
      auto block = block_of(c, world);
      Tensor w = param_of(*block, "moe/cmr_gate/weight").var.data();
      Tensor b = param_of(*block, "moe/cmr_gate/bias").var.data();
      fill(0, w);
      fill(bias, b);
      std::vector<double> y = doubles(block->forward(Var(x), {}, ctx).data());
      for (size_t i = 0; i < y.size(); ++i) y[i] -= doubles(x)[i];
      losses = ctx.losses;
      return y;
    };
    const auto budget = [](const std::vector<NamedLoss>& losses) {
      for (const NamedLoss& l : losses)
        if (l.name == "cmr") return value_of(combine_losses({l}, true, DType::F64).data());
      return -1.0;
    };
    std::vector<NamedLoss> losses;
    const std::vector<double> open = gated(40, losses);
    for (size_t i = 0; i < moe.size(); ++i) EXPECT_NEAR(open[i], moe[i], 1e-12);
    EXPECT_NEAR(budget(losses), 0.2, 1e-12);

    const std::vector<double> closed = gated(-40, losses);
    auto block = block_of(c, world);
    LayerNorm norm(kM, DType::F64);
    initialize(norm, 1);
    const auto weight = [&](const std::string& name) {
      return param_of(*block, "moe/shared/" + name).var;
    };
    const Var h = relu(linear(norm.forward(Var(x)), weight("fc1/weight"), weight("fc1/bias")));
    const std::vector<double> ffn =
        doubles(linear(h, weight("fc2/weight"), weight("fc2/bias")).data());
    for (size_t i = 0; i < ffn.size(); ++i) EXPECT_NEAR(closed[i], ffn[i], 1e-12);
    EXPECT_NEAR(budget(losses), 0.8, 1e-12);

    gated(std::log(0.8 / 0.2), losses);  // sigmoid = 0.8
    EXPECT_NEAR(budget(losses), 0, 1e-12);
  });
}

// The budget over all ranks, and its gradient: that of the sum of all ranks' losses.
TEST(Cmr, BudgetAcrossRanks) {
  std::vector<double> losses(2), gradients(2);
  dist::run_ranks(2, [&](dist::Runtime& rt) {
    HmoeConfig c = config_of(4, 0);
    c.moe_cmr = true, c.moe_cmr_xgpu = true, c.cmr_gate_loss_p = 0.1;
    auto block = block_of(c, rt.world);
    ForwardContext ctx;
    ctx.training = true;
    ctx.rank = rt.world.rank();
    const int64_t rows = rt.world.rank() == 0 ? 4 : 7;
    block->forward(Var(normal({rows, kM}, 4 + uint64_t(ctx.rank))), {}, ctx);
    for (const NamedLoss& l : ctx.losses)
      if (l.name == "cmr") {
        EXPECT_EQ(l.budget->count, 11);
        const Var loss = scale(combine_losses({l}, true, DType::F64), double(rows));
        backward(loss);
        losses[ctx.rank] = value_of(loss.data()) / double(rows);
      }
    Tensor g = param_of(*block, "moe/cmr_gate/bias").var.grad();
    gradients[ctx.rank] = value_of(g);
  });
  EXPECT_EQ(losses[0], losses[1]);
  EXPECT_NE(gradients[0], gradients[1]);
  EXPECT_GT(gradients[0], 0);
}

TEST(PadMask, PaddingEntersNoRoundAndKeepsItsStream) {
  on_one_rank([](const dist::Comm& world) {
    for (int strata : {0, 3}) {
      const Tensor x = normal({10, kM}, 6);
      HmoeConfig c = config_of(6, strata);
      c.use_moe_pad_mask = true;
      ForwardContext ctx;
      ctx.training = true;
      ctx.layout.padding =
          Tensor::of(std::vector<double>{1, 1, 0, 0, 0, 0, 0, 0, 0, 1}).to(DType::U8);
      const std::vector<double> y = doubles(block_of(c, world)->forward(Var(x), {}, ctx).data());
      EXPECT_EQ(ctx.statistics.at("moe/tokens_per_round")[0], 7);
      // equal to the block on the real rows alone
      ForwardContext alone;
      alone.training = true;
      const std::vector<double> real =
          doubles(block_of(c, world)->forward(Var(x.slice(2, 9)), {}, alone).data());
      for (int64_t t = 0; t < 10; ++t)
        for (int64_t m = 0; m < kM; ++m) {
          const bool pad = t < 2 || t == 9;
          EXPECT_EQ(y[t * kM + m], pad ? doubles(x)[t * kM + m] : real[(t - 2) * kM + m]);
        }
    }
  });
}

// With probability 1 every round is served by the experts at hand; they are many ranks' experts at once.
TEST(LocalDrop, ServesWithTheExpertsAtHand) {
  for (int ranks : {2, 4})
    dist::run_ranks(ranks, [&](dist::Runtime& rt) {
      HmoeConfig c = config_of(4, 0);
      c.moe_local_drop = 0.999999;
      auto block = block_of(c, rt.world);
      const Var x(normal({6, kM}, 7 + uint64_t(rt.world.rank())), true);
      ForwardContext ctx;
      ctx.training = true;
      ctx.rank = rt.world.rank();
      rt.world.meter().reset();
      Var y = block->forward(x, {}, ctx);
      backward(dot(y, Tensor::full({6 * kM}, 1, DType::F64)));
      for (const auto& [key, _] : rt.world.meter().entries)
        EXPECT_NE(key.first, "all_to_all") << "rows travelled";
      EXPECT_TRUE(x.grad().defined());
      ctx.training = false;  // evaluation always exchanges
      block->forward(x, {}, ctx);
      bool exchanged = false;
      for (const auto& [key, _] : rt.world.meter().entries) exchanged |= key.first == "all_to_all";
      EXPECT_TRUE(exchanged);
    });
}

}  // namespace
}  // namespace switchyard::moe
