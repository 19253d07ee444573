// The dispatch plan: integers in, integers out. specs/hmoe.md 2.2, 2.3 (steps 6, 7), 7.2-7.4.
#include <gtest/gtest.h>

#include <array>
#include <numeric>

#include "moe/plan.h"

namespace switchyard::moe {
namespace {

using Ints = std::vector<int64_t>;

// k choices for each token, first choices served first.
Routing routing_of(const Ints& expert, int64_t k) {
  const int64_t S = int64_t(expert.size()) / k;
  Routing r;
  Ints offsets, order;
  for (int64_t s = 0; s <= S; ++s) offsets.push_back(s * k);
  for (int64_t j = 0; j < k; ++j)
    for (int64_t s = 0; s < S; ++s) order.push_back(s * k + j);
  r.offsets = Tensor::of(offsets);
  r.expert = Tensor::of(expert, {int64_t(expert.size())});
  r.order = Tensor::of(order, {int64_t(order.size())});
  return r;
}

TEST(Capacity, ValuesOfTheSpec) {
  const CapacityRule top2{.factor = 2}, quarter{.factor = 2, .eval_fraction = 0.25};
  const auto top1 = [](double f) { return CapacityRule{.factor = f}; };
  EXPECT_EQ(capacity_of(top2, true, 10, 4, 1), 6);
  EXPECT_EQ(capacity_of(top1(1.0), true, 10, 4, 1), 3);
  EXPECT_EQ(capacity_of(top1(1.25), true, 10, 4, 1), 3);
  EXPECT_EQ(capacity_of(top1(2.0), true, 10, 4, 1), 6);
  EXPECT_EQ(capacity_of(top2, true, 1, 8, 1), 2);
  EXPECT_EQ(capacity_of(quarter, false, 10, 4, 1), 3);
  EXPECT_EQ(capacity_of(quarter, true, 10, 4, 1), 6) << "the fraction is for evaluation";
  EXPECT_EQ(capacity_of({.factor = 2, .eval_fraction = -1}, false, 10, 4, 1), 6);
  EXPECT_EQ(capacity_of({.factor = 2, .eval_fraction = 0.1, .eval_positions = 7}, false, 10, 4, 7),
            5);
  EXPECT_EQ(capacity_of(top2, true, 0, 4, 1), 0);
}

// Generation's fraction 1: room for every row at every expert, so that even one that all want drops none.
TEST(Plan, FractionOneDropsNothing) {
  RandomSequence random(random_stream(8, "plan"));
  const CapacityRule rule{.factor = 2, .eval_fraction = 1};
  for (int64_t favourites : {1, 2, 5})
    for (int64_t S : {1, 7, 40}) {
      Ints expert;
      for (int64_t s = 0; s < S; ++s) {  // the first choice among the favourites
        const int64_t first = random.below(favourites);
        expert.insert(expert.end(), {first, (first + 1 + int64_t(random.below(4))) % 5});
      }
      const DispatchPlan p = make_plan(routing_of(expert, 2), 5, capacity_of(rule, false, S, 5, S));
      for (const int64_t slot : p.slot) EXPECT_GE(slot, 0);
    }
}

TEST(Plan, EarlierRowsWin) {  // twelve identical rows, both experts full after six
  Ints expert;
  for (int s = 0; s < 12; ++s) expert.insert(expert.end(), {2, 1});
  const DispatchPlan p = make_plan(routing_of(expert, 2), 4, 6);
  for (int s = 0; s < 12; ++s)
    for (int j = 0; j < 2; ++j) EXPECT_EQ(p.slot[2 * s + j], s < 6 ? s : -1);
}

TEST(Plan, SecondChoicesWaitBehindOverflowingFirstChoices) {
  Ints expert;
  for (int s = 0; s < 12; ++s)
    s < 7 ? expert.insert(expert.end(), {0, 3}) : expert.insert(expert.end(), {1, 0});
  const Routing r = routing_of(expert, 2);
  DispatchPlan p = make_plan(r, 4, 6);
  pack_rows(p, r, {.members = 2, .experts = 2});
  for (int s = 7; s < 12; ++s) EXPECT_EQ(p.slot[2 * s + 1], -1);
  EXPECT_EQ(p.kept, (Ints{6, 5, 0, 6}));
}

TEST(Plan, PropertiesOnRandomRoutings) {
  RandomSequence random(random_stream(7, "plan"));
  for (int trial = 0; trial < 300; ++trial) {
    const int64_t S = random.below(20), C = random.below(8);
    Chunks chunks{int64_t(1 + random.below(3)), int64_t(1 + random.below(3))};
    chunks.count = 1 + random.below(chunks.experts);
    const int64_t E = chunks.members * chunks.experts;
    const auto chunk_of = [&](int64_t expert) {
      int64_t c = 0;
      while (expert % chunks.experts >= chunks.begin(c + 1)) ++c;
      return c;
    };
    Ints offsets{0}, expert;
    for (int64_t s = 0; s < S; ++s) {  // ragged: 0 .. E different experts, some not to be served
      Ints all(E);
      std::iota(all.begin(), all.end(), 0);
      for (int64_t i = 0; i < E; ++i) std::swap(all[i], all[i + random.below(E - i)]);
      for (uint64_t i = 0, k = random.below(E + 1); i < k; ++i)
        expert.push_back(random.below(5) ? all[i] : ~all[i]);
      offsets.push_back(int64_t(expert.size()));
    }
    const int64_t n = int64_t(expert.size());
    Ints order(n);
    std::iota(order.begin(), order.end(), 0);
    for (int64_t i = 0; i < n; ++i) std::swap(order[i], order[i + random.below(n - i)]);
    Routing r;
    r.offsets = Tensor::of(offsets), r.expert = Tensor::of(expert, {n}),
    r.order = Tensor::of(order, {n});
    DispatchPlan p = make_plan(r, E, C);

    const auto check_rows = [&] {  // those that travel: a bijection, sorted by expert and then slot
      Ints row_expert, row_slot, seen;
      for (int64_t i = 0; i < n; ++i) {
        ASSERT_EQ(p.slot[i] >= 0, p.position.data<int64_t>()[i] >= 0);
        if (p.slot[i] >= 0) seen.push_back(p.position.data<int64_t>()[i]);
      }
      std::sort(seen.begin(), seen.end());
      const int64_t m = int64_t(seen.size());
      ASSERT_EQ(m, p.token.numel());
      ASSERT_EQ(m, std::accumulate(p.kept.begin(), p.kept.end(), int64_t(0)));
      std::array<int64_t, 3> last{-1, -1, -1};
      for (int64_t row = 0; row < m; ++row) {
        ASSERT_EQ(seen[row], row);
        const int64_t i = p.choice.data<int64_t>()[row], s = p.token.data<int64_t>()[row];
        ASSERT_TRUE(offsets[s] <= i && i < offsets[s + 1]);
        ASSERT_EQ(p.position.data<int64_t>()[i], row);
        const std::array<int64_t, 3> here{chunk_of(expert[i]), expert[i], p.slot[i]};
        ASSERT_LT(last, here);
        last = here;
      }
    };
    Ints taken(E, 0);
    for (int64_t i : order) {  // the definition, once more
      const int64_t e = expert[i];
      const int64_t slot = e >= 0 && taken[e] < C ? taken[e] : -1;
      if (e >= 0) ++taken[e];
      ASSERT_EQ(p.slot[i], slot);
    }
    for (int64_t i = 0; i < n; ++i)  // rows that need not travel keep others from their slots
      if (random.below(3) == 0) p.slot[i] = -1;
    pack_rows(p, r, chunks);
    check_rows();
  }
}

}  // namespace
}  // namespace switchyard::moe
