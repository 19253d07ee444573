// Tensors on the (emulated) GPU: copies, fills, guards.
#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "tensor/device.h"
#include "tensor/kernels.h"

namespace switchyard {
namespace {

TEST(CudaMemory, CopiesThereAndBack) {
  const Tensor host = Tensor::of<float>({1, 2, 3});
  const Tensor there = host.to(Device::CUDA);
  EXPECT_EQ(there.device(), Device::CUDA);
  EXPECT_EQ(there.to_vector<float>(), (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(Tensor::full({5}, 2.5, DType::F32, Device::CUDA).to_vector<float>(),
            std::vector<float>(5, 2.5f));
}

TEST(CudaMemory, GradientsMoveBack) {
  const Var x(Tensor::of<float>({1, 2, 3}), true);
  const Var y = move_to(x, Device::CUDA);
  backward(sum(mul(y, y)));
  EXPECT_EQ(x.grad().device(), Device::CPU);
  EXPECT_EQ(x.grad().to_vector<float>(), (std::vector<float>{2, 4, 6}));
}

TEST(CudaMemoryDeathTest, HostCodeMayNotRead) {
  const Tensor there = Tensor::full({5}, 2.5, DType::F32, Device::CUDA);
  EXPECT_DEATH(
      {
        volatile float x = there.data<float>()[0];
        (void)x;
      },
      "");
}

}  // namespace
}  // namespace switchyard
