// Whole training runs on the GPU against the CPU, on thread ranks: same data, same draws, same choices, so the
// losses agree to rounding.
#include "tensor/device.h"
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

// Of an update: one for each gate and micro-batch, one for the losses, one for the gradient norm.
TEST_F(CudaTrainingOpen, WaitsOfAnUpdate) {
  for (const std::string type : {"base", "eom-cmr"})
    for (const bool checkpointed : {false, true}) {
      SCOPED_TRACE(concat(type, checkpointed ? ", checkpointed" : ""));
      HmoeAppConfig c = small_config(4, 1);
      c.model.checkpoint_activations = checkpointed;
      c.model.dropout = c.model.attention_dropout = 0.1;
      c.hmoe.moe_type = type;
      c.hmoe.hmoe_layer = 0;  // one round
      c.hmoe.gate.policy = "sampling";
      c.train.update_freq = 2;
      c.train.no_save = true;
      c.train.save_dir = testing::TempDir() + concat("switchyard_waits_", getpid());
      std::filesystem::create_directories(c.train.save_dir);
      int64_t gates = 0;
      for (int i = 0; i < c.model.encoder_layers; ++i) gates += c.hmoe.has_experts(false, i);
      for (int i = 0; i < c.model.decoder_layers; ++i) gates += c.hmoe.has_experts(true, i);
      ASSERT_GT(gates, 0);
      dist::run_ranks(
          1,
          [&](dist::Runtime& runtime) {
            with_trainer(c, runtime, [&](Trainer& trainer) {
              trainer.load("");
              trainer.log = std::make_unique<TrainLog>(runtime, c.train.save_dir, 0, 10, false);
              for (int update = 0; update < 3; ++update) {
                const int64_t before = cuda::waits();
                trainer.step();
                EXPECT_EQ(cuda::waits() - before, 2 * gates + 2) << "update " << update + 1;
              }
            });
          },
          0, "cuda");
      std::filesystem::remove_all(c.train.save_dir);
    }
}

// Other roundings may choose other experts, so the losses are near and no more.
TEST_F(CudaTrainingOpen, MixedPrecision) {
  HmoeAppConfig c = small_config(4, 2);
  c.model.dropout = 0.1;
  c.train.precision = "bf16";
  c.train.update_freq = 1;
  const TrainResult cpu = train(c, 4);
  c.train.device = "cuda";
  const TrainResult gpu = train(c, 4);
  ASSERT_EQ(gpu.losses.size(), 4u);
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(gpu.losses[i], cpu.losses[i], 0.01 * cpu.losses[i]);
}

}  // namespace
}  // namespace switchyard
