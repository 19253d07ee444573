// What every CUDA kernel of a rank shares: error checks, the rank's stream, launches.
// Read before: device.h. Read next: loops.h.
#pragma once
#include <cuda_runtime.h>

#include "tensor/device.h"
#include "tensor/kernels.h"

// Every call of the runtime and of the libraries goes through one of these.
#define CUDA_CHECK(call) ::switchyard::cuda::check_cuda((call), #call)

namespace switchyard::cuda {

inline void check_cuda(cudaError_t status, const char* call,
                       std::source_location at = std::source_location::current()) {
  if (status != cudaSuccess)
    throw Error(concat("CUDA: ", cudaGetErrorString(status), " in ", call, " (", at.file_name(),
                       ":", at.line(), ")"));
}

cudaStream_t stream();                // of the calling rank thread; all kernels run in its order
cudaStream_t communication_stream();  // of the calling rank thread, for messages
int multiprocessors();                // of its device
int compute_capability();             // 80, 90, ...

Event record(cudaStream_t stream);  // what the stream has been given up to now
// The host waits, by asking, not inside the driver: what never comes must not hang the rank.
void wait_until(const std::function<cudaError_t()>& query);
void wait_for(const Event& event);
// While the calling rank thread waits, `watch` is called as well, for as long as it lives.
void add_watch(std::weak_ptr<const std::function<void()>> watch);

// A copy on the device, or t itself where it is there (or undefined): for integer arguments.
inline Tensor on_device(const Tensor& t) { return t.defined() ? t.to(Device::CUDA) : t; }

// kernel<<<grid, block, shared_bytes, stream()>>>(args...); a grid without blocks is legal and does nothing.
template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 block, size_t shared_bytes, const A&... args) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream();
  if (shared_bytes > 48 * 1024)  // above this a kernel has to ask
    CUDA_CHECK(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                    cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    int(shared_bytes)));
  CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, P(args)...));
}

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace switchyard::cuda
