// MoE layers whose rows travel in chunks, beside the experts' computation, on GPUs: the bits of one exchange.
#include "tests/moe/chunked_layer.h"

namespace switchyard::moe {
namespace {

TEST(CudaChunks, ChangeNoBit) {
  setenv("EMULATED_GPUS", "3", 1);
  for (int ranks : {2, 3}) expect_chunks_change_nothing(ranks, "cuda", "NCCL, one GPU a rank");
  setenv("EMULATED_GPUS", "1", 1);
  expect_chunks_change_nothing(2, "cuda", "device copies; 2 ranks on 1 GPU");
  expect_chunks_change_nothing(1, "cuda", "none, one rank");
  unsetenv("EMULATED_GPUS");
}

}  // namespace
}  // namespace switchyard::moe
