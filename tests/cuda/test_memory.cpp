// Tensors on the (emulated) GPU: copies, fills, guards.
#include <gtest/gtest.h>

#include <numeric>

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

// In pieces, through pinned memory
TEST(CudaMemory, LargeCopies) {
  for (int64_t n : {(8 << 18) - 1, 2 * (8 << 18), 7'654'321}) {
    Tensor x = Tensor::empty({n}, DType::I32);
    std::iota(x.data<int32_t>(), x.data<int32_t>() + n, 1);
    const std::vector<int32_t> values = x.to_vector<int32_t>();
    const Tensor there = x.to(Device::CUDA);
    std::fill_n(x.data<int32_t>(), n, 0);  // copied already
    EXPECT_EQ(there.to_vector<int32_t>(), values);
  }
}

TEST(CudaMemory, ManyUploadsWithoutAWait) {
  std::vector<Tensor> there;
  const int64_t before = cuda::waits();
  for (int i = 0; i < 50; ++i) there.push_back(Tensor::of<int64_t>({i, 2 * i}).to(Device::CUDA));
  EXPECT_EQ(cuda::waits(), before);
  for (int i = 0; i < 50; ++i)
    EXPECT_EQ(there[i].to_vector<int64_t>(), (std::vector<int64_t>{i, 2 * i}));
}

TEST(CudaMemory, SeveralTensorsWithOneWait) {
  const Tensor a = Tensor::full({3}, 1, DType::F32, Device::CUDA),
               b = Tensor::full({2, 2}, 2, DType::F64, Device::CUDA),
               none = Tensor::full({0, 2}, 2, DType::F64, Device::CUDA), host = Tensor::zeros({1});
  const int64_t before = cuda::waits();
  const std::vector<Tensor> all = to_host({a, Tensor(), b, host, none});
  EXPECT_EQ(cuda::waits(), before + 1);
  for (const Tensor& t : all) EXPECT_EQ(t.device(), Device::CPU);
  EXPECT_EQ(all[0].to_vector<float>(), std::vector<float>(3, 1));
  EXPECT_FALSE(all[1].defined());
  EXPECT_EQ(all[2].to_vector<double>(), std::vector<double>(4, 2));
  EXPECT_EQ(all[3].raw(), host.raw());
  EXPECT_EQ(all[4].shape(), (Shape{0, 2}));
  to_host({host, none});
  EXPECT_EQ(cuda::waits(), before + 1);  // nothing to wait for
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
