// Collectives on tensors of the GPU give the bits of those on the host: between GPUs (four emulated ones, one for
// each rank) and between ranks that share GPUs. Over processes: test program gpu_exchange.
#include <gtest/gtest.h>

#include "tests/cuda/collectives.h"

namespace switchyard {
namespace {

void compare_all(const char* gpus, int ranks) {
  setenv("EMULATED_GPUS", gpus, 1);
  dist::run_ranks(
      ranks,
      [&](dist::Runtime& runtime) {
        EXPECT_EQ(runtime.gpu_way, way_of(ranks));
        const CollectivesOnGpu on_gpu(runtime);
        for (int64_t n : {0, 1, 7, 64}) on_gpu.compare(n);  // fewer elements than ranks, too
        const dist::Comm pair = runtime.world.split(runtime.world.rank() / 2, 0);
        Tensor t = Tensor::full({3}, 1 + runtime.world.rank(), DType::F32, Device::CUDA);
        pair.all_reduce(t);
        const int first = runtime.world.rank() / 2 * 2 + 1;
        EXPECT_EQ(t.to_vector<float>()[0], pair.size() == 2 ? first + first + 1 : first);
        // Only between GPUs do thread ranks carry bytes.
        const auto& sent = runtime.world.meter().entries[{"all_to_all", dist::Level::Node}];
        EXPECT_EQ(sent.carried_bytes > 0, cuda::device_count() >= ranks && ranks > 1);
      },
      0, "cuda");
  unsetenv("EMULATED_GPUS");
}

TEST(CudaCollectives, EveryRankHasItsOwnGpu) {
  for (int ranks : {2, 3, 4}) compare_all("4", ranks);
}
TEST(CudaCollectives, RanksShareGpus) {
  compare_all("1", 3);
  compare_all("2", 4);
  compare_all("1", 1);
}

// NCCL's own sum, where there is one
TEST(CudaCollectives, FastSums) {
  for (const char* gpus : {"3", "1"}) {
    setenv("EMULATED_GPUS", gpus, 1);
    dist::run_ranks(
        3,
        [](dist::Runtime& runtime) {
          Tensor t = Tensor::full({1001}, 1 + runtime.world.rank(), DType::F32, Device::CUDA);
          if (cuda::device_count() < 3) {
            EXPECT_THROW(runtime.world.all_reduce_fast(t), Error);
            return;
          }
          runtime.world.all_reduce_fast(t);
          EXPECT_EQ(t.to_vector<float>(), std::vector<float>(1001, 6));
        },
        0, "cuda");
    unsetenv("EMULATED_GPUS");
  }
}

// The host goes on while messages travel.
TEST(CudaCollectives, NobodyWaits) {
  for (const char* gpus : {"1", "2"}) {
    setenv("EMULATED_GPUS", gpus, 1);
    dist::run_ranks(
        2,
        [](dist::Runtime& runtime) {
          Tensor t = Tensor::full({1000}, 1, DType::F32, Device::CUDA);
          const int64_t before = cuda::waits();
          runtime.world.all_reduce(t);
          runtime.world.all_to_all_v(t, {500, 500}, {500, 500});
          EXPECT_EQ(cuda::waits(), before);
        },
        0, "cuda");
    unsetenv("EMULATED_GPUS");
  }
}

}  // namespace
}  // namespace switchyard
