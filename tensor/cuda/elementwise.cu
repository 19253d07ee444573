// Elementwise kernels; the functors are the CPU's.
#include "tensor/cuda/loops.h"

namespace switchyard::cuda {
namespace {

template <class T>
__global__ void fill_kernel(T* y, int64_t n, T value) {
  for (int64_t i = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; i < n;
       i += int64_t(gridDim.x) * blockDim.x)
    y[i] = value;
}

}  // namespace

void fill(double value, Tensor& y) {
  with_type(y.dtype(), [&]<class T>(T) {
    launch(fill_kernel<T>, unsigned(std::min<int64_t>(ceil_div(y.numel(), 256), 1024)), 256, 0,
           y.data<T>(), y.numel(), static_cast<T>(value));
  });
}

}  // namespace switchyard::cuda
