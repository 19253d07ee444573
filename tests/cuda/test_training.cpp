// Whole training runs on the GPU against the CPU, on thread ranks: same data, same draws, same choices, so the
// losses agree to rounding.
#include "tests/apps/train_small.h"

namespace switchyard {
namespace {

void expect_same_on_gpu(HmoeAppConfig c, int ranks, int64_t updates = 4) {
  c.train.update_freq = 1;
  c.train.device = "cpu";
  const TrainResult cpu = train(c, updates);
  c.train.device = "cuda";
  expect_close(cpu, train(c, updates), ranks);
}

TEST(CudaTraining, HostKeepsAwayFromDeviceMemory) { expect_same_on_gpu(small_config(8, 1), 1, 1); }

// From here on the emulated GPU does not watch over its memory: the first test has shown that the host keeps away.
struct CudaTrainingOpen : testing::Test {
  CudaTrainingOpen() { setenv("EMULATED_GPU_OPEN", "1", 1); }
};

TEST_F(CudaTrainingOpen, DropoutDropsAndMaskingOnTwoRanks) {
  HmoeAppConfig c = small_config(4, 2);
  c.model.dropout = c.model.attention_dropout = 0.1;
  c.hmoe.moe_capacity_factor = 1;
  c.hmoe.gate.policy = "sampling";
  c.hmoe.moe_gate_loss_wt = 0.01;
  c.hmoe.moe_eom = 0.2;
  expect_same_on_gpu(c, 2);
}

TEST_F(CudaTrainingOpen, ConditionalRouting) {
  HmoeAppConfig c = small_config(4, 2);
  c.hmoe.moe_type = "cmr";
  c.hmoe.hmoe_layer = 0;
  c.model.checkpoint_activations = true;
  expect_same_on_gpu(c, 2);
}

}  // namespace
}  // namespace switchyard
