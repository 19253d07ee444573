// The top-1 and top-2 gates, their weights and the balance loss. specs/hmoe.md 2.1-2.5 and 7.2-7.6.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "autograd/ops.h"
#include "moe/balance.h"
#include "moe/moe_layer.h"

namespace switchyard::moe {
namespace {

Tensor tokens(int64_t n) {
  std::vector<int64_t> t(n);
  std::iota(t.begin(), t.end(), 0);
  return Tensor::of(t, {n});
}
Tensor normal(Shape shape, uint64_t seed, double stddev = 1) {
  Tensor t = Tensor::empty(std::move(shape), DType::F64);
  random_normal(random_stream(seed, "test"), 0, stddev, t);
  return t;
}

TEST(Gate, PropertiesUnderEveryPolicy) {
  uint64_t seed = 1;
  for (int k : {1, 2})
    for (const std::string policy : {"all", "sampling", "random"})
      for (bool before : {false, true})
        for (bool priority : {false, true})
          for (int64_t visible : {1, 2, 5}) {
            if (k == 1 && before) continue;
            const int64_t S = 23, first = 3, E = first + visible;
            const GateOptions options{.top1 = k == 1,
                                      .policy = policy,
                                      .normalize_before_drop = before,
                                      .by_priority = priority};
            Tensor padding = Tensor::zeros({S}, DType::U8);
            for (int64_t s : {0, 7, 20}) padding.data<uint8_t>()[s] = 1;
            ForwardContext ctx;
            ctx.training = true;
            const Routed r = top_k_gate(Var(normal({S, visible}, seed++)), first, options, padding,
                                        tokens(S), ctx);
            const int64_t C = capacity_of({.factor = double(k)}, true, S, visible, 1);
            const DispatchPlan plan = make_plan(r.routing, E, C);
            const std::vector<double> w =
                combine_weights(r.routing, plan).data().to_vector<double>();
            const double* p = r.probs.data().data<double>();
            std::vector<std::vector<int>> slot(E, std::vector<int>(C, 0));
            for (int64_t s = 0; s < S; ++s) {
              const int64_t begin = ints(r.routing.offsets)[s],
                            end = ints(r.routing.offsets)[s + 1];
              ASSERT_LE(end - begin, k);
              const int64_t best =
                  std::max_element(p + s * visible, p + (s + 1) * visible) - (p + s * visible);
              ASSERT_EQ(chosen(ints(r.routing.expert)[begin]), first + best);
              double sum = 0;
              for (int64_t i = begin; i < end; ++i) {
                const int64_t e = ints(r.routing.expert)[i];
                ASSERT_TRUE(!padding.data<uint8_t>()[s] || e < 0);
                ASSERT_TRUE(i == begin || chosen(e) != chosen(ints(r.routing.expert)[begin]));
                if (plan.slot[i] >= 0) ++slot[e][plan.slot[i]];
                ASSERT_TRUE(plan.slot[i] >= 0 || w[i] == 0);
                sum += w[i];
              }
              ASSERT_TRUE(k == 2 || sum == (plan.slot[begin] >= 0 ? p[s * visible + best] : 0));
              ASSERT_LE(sum, 1 + 1e-12);
              ASSERT_TRUE(k == 1 || before || std::min(std::abs(sum), std::abs(sum - 1)) < 1e-12);
            }
            for (auto& column : slot)
              for (int64_t c = 0; c < C; ++c) {
                ASSERT_LE(column[c], 1);
                ASSERT_TRUE(c == 0 || column[c] <= column[c - 1]);  // no holes among the first C
              }
          }
}

TEST(Gate, PriorityServesTheSurerTokenFirst) {
  const Tensor z =
      Tensor::of<double>({1, 0, 3, 0, 2, 0}, {3, 2});  // all prefer expert 0; row 1 most
  ForwardContext ctx;
  const GateOptions options{.eval_policy = "all", .by_priority = true};
  const Routed r = top_k_gate(Var(z), 0, options, {}, tokens(3), ctx);
  const DispatchPlan p = make_plan(r.routing, 2, 2);
  EXPECT_EQ(p.slot[0], -1);
  EXPECT_EQ(p.slot[2], 0);
  EXPECT_EQ(p.slot[4], 1);
}

TEST(Gate, GumbelDrawsTheSecondChoiceInProportion) {
  const int64_t n = 100000;
  const std::vector<double> z = {2.0, 0.3, -0.4, 0.9};
  Tensor rows = Tensor::empty({n, 4}, DType::F64);
  for (int64_t i = 0; i < 4 * n; ++i) rows.data<double>()[i] = z[i % 4];
  ForwardContext ctx;
  ctx.training = true;
  const Routed r = top_k_gate(Var(rows), 0, {}, {}, tokens(n), ctx);
  std::vector<double> count(4, 0);
  for (int64_t s = 0; s < n; ++s) count[ints(r.routing.expert)[2 * s + 1]] += 1;
  const double* p = r.probs.data().data<double>();
  EXPECT_EQ(count[0], 0);
  for (int e = 1; e < 4; ++e) EXPECT_NEAR(count[e] / n, p[e] / (1 - p[0]), 0.01);
  ctx.training = false;  // evaluation policy: all
  const Routed eval = top_k_gate(Var(rows), 0, {}, {}, tokens(n), ctx);
  for (int64_t s = 0; s < n; ++s) ASSERT_EQ(ints(eval.routing.expert)[2 * s + 1], 3);
}

TEST(Gate, PolicyRandomKeepsTheSecondChoiceWithTwiceItsProbability) {
  const int64_t n = 40000;
  for (double z2 : {-2.0, 1.9}) {
    Tensor rows = Tensor::empty({n, 2}, DType::F64);
    for (int64_t i = 0; i < 2 * n; ++i) rows.data<double>()[i] = i % 2 ? z2 : 2;
    ForwardContext ctx;
    ctx.training = true;
    const Routed r = top_k_gate(Var(rows), 0, {.policy = "random"}, {}, tokens(n), ctx);
    double kept = 0;
    for (int64_t s = 0; s < n; ++s) kept += ints(r.routing.expert)[2 * s + 1] >= 0;
    EXPECT_NEAR(kept / n, std::min(1.0, 2 * r.probs.data().data<double>()[1]), 0.01);
  }
}

TEST(Gate, NoiseIsKeyedByTheTokenNotByItsRow) {
  const Tensor z = normal({40, 6}, 3, 0.1);
  ForwardContext ctx;
  ctx.training = true;
  for (const std::string policy : {"sampling", "random"}) {
    const GateOptions options{.policy = policy};
    const Routed all = top_k_gate(Var(z), 0, options, {}, tokens(40), ctx);
    std::vector<int64_t> later(10);
    std::iota(later.begin(), later.end(), 30);
    const Routed tail = top_k_gate(Var(z.slice(30, 40)), 0, options, {}, Tensor::of(later), ctx);
    for (int64_t i = 0; i < 20; ++i)
      EXPECT_EQ(ints(all.routing.expert)[60 + i], ints(tail.routing.expert)[i]);
  }
}

TEST(Gate, AWeightThatUnderflowsToZeroIsNotDispatched) {
  const Tensor z = Tensor::of<float>({0, 200, 0}, {1, 3});
  ForwardContext ctx;
  const Routed r = top_k_gate(Var(z), 0, {}, {}, tokens(1), ctx);
  EXPECT_EQ(r.routing.weightless, std::vector<int64_t>{1});
  const DispatchPlan plan = make_plan(r.routing, 3, 4);
  EXPECT_EQ(combine_weights(r.routing, plan).data().to_vector<float>(), (std::vector<float>{1, 0}));
}

double balance(const Tensor& z, int64_t rows) {
  ForwardContext ctx;
  const GateOptions options{.eval_policy = "all"};
  return balance_loss(top_k_gate(Var(z), 0, options, {}, tokens(z.dim(0)), ctx), rows)
      .data()
      .data<double>()[0];
}

TEST(Balance, ExtremesAndFiller) {
  Tensor even = Tensor::zeros({8, 4}, DType::F64), one = Tensor::zeros({8, 4}, DType::F64);
  for (int s = 0; s < 8; ++s) {
    even.data<double>()[s * 4 + s % 4] = 1e-9;  // uniform p, balanced choices
    one.data<double>()[s * 4 + 2] = 1000;       // one-hot p on one expert
  }
  EXPECT_NEAR(balance(even, 8), 1, 1e-8);
  EXPECT_NEAR(balance(one, 8), 4, 1e-12);
  // Filler rows: f = 8/12 on expert 2, P_2 = (8 + 4/4) / 12
  EXPECT_NEAR(balance(one, 12), 4 * (8.0 / 12) * (9.0 / 12), 1e-12);
}

TEST(Balance, GradientIsThatOfPAlone) {
  const Tensor z = normal({9, 4}, 5);
  const Var leaf(z.clone(), true);
  ForwardContext ctx;
  backward(balance_loss(top_k_gate(leaf, 0, {.eval_policy = "all"}, {}, tokens(9), ctx), 11));
  for (int64_t i = 0; i < z.numel(); ++i) {
    Tensor up = z.clone(), down = z.clone();
    up.data<double>()[i] += 1e-6;
    down.data<double>()[i] -= 1e-6;
    EXPECT_NEAR(leaf.grad().data<double>()[i], (balance(up, 11) - balance(down, 11)) / 2e-6, 1e-8);
  }
}

}  // namespace
}  // namespace switchyard::moe
