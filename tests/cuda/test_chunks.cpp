// MoE layers whose rows travel in chunks, beside the experts' computation, on GPUs: the bits of one exchange.
#include "tests/moe/chunked_layer.h"

namespace switchyard::moe {
namespace {

TEST(CudaChunks, ChangeNoBit) {
  for (const char* gpus : {"3", "1"}) {
    setenv("EMULATED_GPUS", gpus, 1);
    for (int ranks : {1, 2, 3}) expect_chunks_change_nothing(ranks, "cuda");
  }
  unsetenv("EMULATED_GPUS");
}

}  // namespace
}  // namespace switchyard::moe
