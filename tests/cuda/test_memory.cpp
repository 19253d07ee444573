// Tensors on the (emulated) GPU: copies, fills, guards.
#include <gtest/gtest.h>

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
