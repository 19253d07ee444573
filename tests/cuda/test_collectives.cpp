// Collectives on tensors of the GPU give the bits of those on the host: between GPUs (four emulated ones, one for
// each rank) and through the host (ranks that share one).
#include <gtest/gtest.h>

#include <numeric>

#include "dist/runtime.h"
#include "tensor/kernels.h"

namespace switchyard {
namespace {

Tensor random_floats(Shape shape, int rank) {
  Tensor t = Tensor::empty(std::move(shape));
  random_normal(random_stream(3, "collectives", 0, 0, rank), 0, 1, t);
  return t;
}

void expect_equal(const Tensor& gpu, const Tensor& host) {
  EXPECT_EQ(gpu.device(), Device::CUDA);
  EXPECT_EQ(gpu.shape(), host.shape());
  EXPECT_EQ(gpu.to_vector<float>(), host.to_vector<float>());
}

void compare_all(const char* gpus, int ranks) {
  setenv("EMULATED_GPUS", gpus, 1);
  dist::run_ranks(
      ranks,
      [ranks](dist::Runtime& runtime) {
        const dist::Comm& comm = runtime.world;
        const int me = comm.rank();
        const auto both = [&](const Tensor& host, const auto& collective) {
          expect_equal(collective(host.to(Device::CUDA)), collective(host.clone()));
        };
        for (int64_t n : {0, 1, 7, 64}) {  // fewer elements than ranks, too
          both(random_floats({n, 3}, me), [&](Tensor t) { return comm.all_reduce(t), t; });
          both(random_floats({n, 3}, me), [&](Tensor t) { return comm.broadcast(t, 1), t; });
          both(random_floats({n, 3}, me),
               [&](Tensor t) { return comm.all_reduce(t, dist::Reduce::Max), t; });
          both(random_floats({n, 3}, me), [&](const Tensor& t) { return comm.all_gather(t); });
          both(random_floats({n * ranks, 3}, me),
               [&](const Tensor& t) { return comm.reduce_scatter(t); });
        }
        std::vector<int64_t> send(ranks), receive(ranks);  // from a to b: (a + 2 b) % 3 rows
        for (int m = 0; m < ranks; ++m) send[m] = (me + 2 * m) % 3, receive[m] = (m + 2 * me) % 3;
        const int64_t rows = std::accumulate(send.begin(), send.end(), int64_t{0});
        for (auto mode : {dist::ExchangeMode::Rows, dist::ExchangeMode::Padded})
          both(random_floats({rows, 5}, me),
               [&](const Tensor& t) { return comm.all_to_all_v(t, send, receive, mode, 2); });
        // Only between GPUs do thread ranks carry bytes.
        const auto& sent = comm.meter().entries[{"all_to_all", dist::Level::Node}];
        EXPECT_EQ(sent.carried_bytes > 0, cuda::device_count() >= ranks);
      },
      0, "cuda");
  unsetenv("EMULATED_GPUS");
}

TEST(CudaCollectives, EveryRankHasItsOwnGpu) {
  for (int ranks : {2, 3, 4}) compare_all("4", ranks);
}
TEST(CudaCollectives, RanksShareAGpu) { compare_all("1", 3); }

}  // namespace
}  // namespace switchyard
