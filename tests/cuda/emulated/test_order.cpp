// The emulated GPU finds waits that are missing, and the engine survives what a GPU may do: never finish, and lose
// a message.
#include <gtest/gtest.h>

#include "dist/runtime.h"
#include "tensor/cuda/context.h"

#include <nccl.h>

namespace switchyard {
namespace {

Tensor ones() { return Tensor::full({1000}, 1, DType::F32, Device::CUDA); }

// Two streams: a is made by the computation, a message copies it to b.
TEST(CudaOrderDeathTest, StreamsHaveToWait) {
  const Tensor a = ones();
  Tensor b = ones();
  EXPECT_DEATH(cuda::copy_message(a.raw(), b.raw(), a.bytes()),
               "a copy on stream .* reads what stream .* writes, without waiting");
  cuda::communicate_after(cuda::computed());
  cuda::copy_message(a.raw(), b.raw(), a.bytes());
  Tensor y = ones();
  add(a, y, y);  // both may read a
  EXPECT_DEATH(fill(2, const_cast<Tensor&>(a)), "a kernel .* writes or frees what .* reads");
  EXPECT_DEATH(add(b, b, y), "a kernel .* reads what .* writes");
  EXPECT_DEATH(softmax_forward(b.reshape({10, 100}), y), "a kernel");  // pointers in a structure
  EXPECT_DEATH(b.to(Device::CPU), "a copy .* reads what .* writes");
  EXPECT_DEATH(b = Tensor(), "a free .* writes or frees what .* writes");
  cuda::compute_after(cuda::communicated());
  EXPECT_EQ(b.to_vector<float>(), std::vector<float>(1000, 1));
}

TEST(CudaOrderDeathTest, ProductsHaveToWait) {
  const Tensor a = ones(), x = ones().slice(0, 100).reshape({1, 100});
  const Tensor whole = Tensor::of<int64_t>({0, 1});
  Tensor y = Tensor::empty({1, 1}, DType::F32, Device::CUDA);
  cuda::communicate_after(cuda::computed());
  cuda::copy_message(a.raw(), x.raw(), x.bytes());
  EXPECT_DEATH(grouped_matmul(x, whole, x, true, Tensor(), y),
               "a matrix product .* reads what .* writes");
  cuda::synchronize();
}

// Waits of the host put streams in order as well.
TEST(CudaOrder, TheHostWaitsForStreams) {
  const Tensor a = ones(), b = ones();
  cuda::synchronize();
  cuda::copy_message(a.raw(), b.raw(), a.bytes());
  cuda::synchronize();
  EXPECT_EQ(b.to_vector<float>()[0], 1);
}

TEST(CudaOrderDeathTest, TheHostHasToWait) {
  const Tensor a = ones();
  const auto pinned = cuda::allocate_pinned(4000);
  const float* values = reinterpret_cast<float*>(pinned.get());
  cuda::communicate_after(cuda::computed());
  cuda::copy_message(a.raw(), pinned.get(), 4000);
  EXPECT_TRUE(std::isnan(values[0]));  // not here yet
  cuda::synchronize();
  EXPECT_EQ(values[0], 1);
  cuda::copy_message(pinned.get(), a.raw(), 4000);
  EXPECT_DEATH(
      {
        pinned.get()[0] = std::byte(7);
        cuda::synchronize();
      },
      "pinned memory changed before the copy from it was over");
  EXPECT_DEATH(CUDA_CHECK(cudaMemcpyAsync(a.raw(), &values, 8, cudaMemcpyDefault, cuda::stream())),
               "pageable memory");
  cuda::synchronize();
}

TEST(CudaOrder, AStuckGpuEndsTheRank) {
  const Tensor a = ones();
  cuda::set_watch({}, 0.05);
  simt::stuck = true;
  EXPECT_THROW(a.to_vector<float>(), Error);
  cuda::set_watch([] { throw UserError("enough"); });
  EXPECT_THROW(a.to_vector<float>(), UserError);
  cuda::set_watch({});
  simt::stuck = false;
  EXPECT_EQ(a.to_vector<float>()[0], 1);
}

// Found while waiting for the GPU, and when the next message starts
TEST(CudaOrder, AFailedLinkEndsTheRun) {
  setenv("EMULATED_GPUS", "2", 1);
  for (const bool by_waiting : {true, false}) {
    EXPECT_THROW(dist::run_ranks(
                     2,
                     [&](dist::Runtime& runtime) {
                       Tensor t = ones();
                       runtime.world.all_reduce(t);
                       runtime.world.barrier();
                       simt::link_failed = true;
                       if (by_waiting) t.to_vector<float>();
                       else runtime.world.all_reduce(t);
                     },
                     0, "cuda"),
                 Error);
    simt::link_failed = false;
  }
  unsetenv("EMULATED_GPUS");
}

}  // namespace
}  // namespace switchyard
