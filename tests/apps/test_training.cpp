// Training in process, on thread ranks: rank invariance (another R is another run, but where nothing depends
// on groups it agrees to rounding), and a rank without data.
#include "tests/apps/train_small.h"

namespace switchyard {
namespace {

TEST(Measurements, OfSomeMicroBatchesAreAddedUp) {
  Measurements measured;
  ForwardContext ctx;
  for (double x : {1.0, 2.0}) {
    MicroBatch micro;
    micro.losses = {{"loss", Tensor::full({1}, x)},
                    {"nll_loss", Tensor::full({1}, 3 * x, DType::F64)}};
    ctx.count("gate", Tensor::full({1}, 10 * x));
    measured.add(micro, ctx);
    EXPECT_TRUE(ctx.measured.empty());
  }
  Sums sums = {{"loss", 0.5}};
  Statistics statistics = {{"gate", {100, 4}}};
  measured.read(sums, statistics);
  EXPECT_EQ(sums, (Sums{{"loss", 3.5}, {"nll_loss", 9}}));
  EXPECT_EQ(statistics, (Statistics{{"gate", {130, 4}}}));
}

TEST(RankInvariance, OneTwoAndFourRanksAgreeToRounding) {
  const TrainResult one = train(small_config(8, 1), 10);
  ASSERT_EQ(one.losses.size(), 10u);
  EXPECT_LT(one.losses.back(), one.losses.front());
  for (int ranks : {2, 4}) expect_close(one, train(small_config(8, ranks), 10), ranks);
}

TEST(RankInvariance, ThreeRanksWithSixExperts) {
  expect_close(train(small_config(6, 1), 10), train(small_config(6, 3), 10), 3);
}

TEST(RankInvariance, ReplicatedExperts) {
  expect_close(train(small_config(2, 1), 10), train(small_config(2, 4), 10), 4);
}

TEST(MixedPrecision, LossesFollowThoseOfF32) {
  HmoeAppConfig c = small_config(4, 2);
  const TrainResult exact = train(c, 10);
  c.train.precision = "bf16";
  const TrainResult mixed = train(c, 10);
  ASSERT_EQ(mixed.losses.size(), 10u);
  for (size_t i = 0; i < 10; ++i)
    EXPECT_NEAR(mixed.losses[i], exact.losses[i], 0.01 * exact.losses[i]) << "update " << i + 1;
  EXPECT_NE(mixed.losses, exact.losses);
}

}  // namespace
}  // namespace switchyard
