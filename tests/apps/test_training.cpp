// Training in process, on thread ranks: rank invariance (another R is another run, but where nothing depends
// on groups it agrees to rounding), and a rank without data.
#include "tests/apps/train_small.h"

namespace switchyard {
namespace {

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

}  // namespace
}  // namespace switchyard
