// A rank's share of a GPU: device, stream, stream-ordered pool.
#include "tensor/cuda/context.h"

#include <cublasLt.h>

#include <algorithm>
#include <atomic>

namespace switchyard::cuda {
namespace {

struct Counters {  // blocks may be freed on other threads
  std::atomic<int64_t> live = 0, peak = 0;
};

struct Context {
  explicit Context(int index) : device(index) {
    CUDA_CHECK(cudaSetDevice(device));
    CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    CUDA_CHECK(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
    int major = 0, minor = 0;
    CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
    CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
    capability = 10 * major + minor;
    // The pool keeps what it has: a training step asks the driver for nothing.
    cudaMemPool_t pool;
    CUDA_CHECK(cudaDeviceGetDefaultMemPool(&pool, device));
    uint64_t keep_all = UINT64_MAX;
    CUDA_CHECK(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep_all));
  }
  ~Context() {
    cudaStreamSynchronize(stream);
    cudaStreamDestroy(stream);
  }
  Context(const Context&) = delete;

  int device, processors = 0, capability = 0;
  cudaStream_t stream = nullptr;
  std::function<void()> watch;
  Counters counters;
};

thread_local std::shared_ptr<Context> own;

// Blocks hold their context as well: they may outlive the thread that made them.
const std::shared_ptr<Context>& context() {
  if (!own) {
    if (device_count() == 0) throw UserError("there is no usable GPU on this machine");
    own = std::make_shared<Context>(0);
  }
  return own;
}

}  // namespace

std::string version() {
  const size_t lt = cublasLtGetVersion();
  return concat("CUDA ", CUDART_VERSION / 1000, ".", CUDART_VERSION % 1000 / 10, ", cuBLASLt ",
                lt / 10000, ".", lt / 100 % 100, ".", lt % 100);
}

int device_count() {
  int n = 0;
  return cudaGetDeviceCount(&n) == cudaSuccess ? n : 0;  // any failure: no GPU, or no driver
}

void use_device(int index) {
  check(index >= 0 && index < device_count(), concat("there is no GPU ", index));
  own = std::make_shared<Context>(index);
}

std::string device_name() {
  cudaDeviceProp properties;
  CUDA_CHECK(cudaGetDeviceProperties(&properties, context()->device));
  return properties.name;
}

cudaStream_t stream() { return context()->stream; }
int multiprocessors() { return context()->processors; }
int compute_capability() { return context()->capability; }

std::shared_ptr<std::byte> allocate(int64_t bytes) {
  check(bytes >= 0, "allocate: negative size");
  bytes = ceil_div(std::max<int64_t>(bytes, 1), 512) * 512;
  const auto& own = context();
  void* block = nullptr;
  const cudaError_t status = cudaMallocAsync(&block, size_t(bytes), own->stream);
  if (status == cudaErrorMemoryAllocation)
    throw Error(concat("out of GPU memory: asked for ", bytes, " bytes, ",
                       own->counters.live.load(), " are in use by this rank"));
  CUDA_CHECK(status);
  const int64_t live = own->counters.live += bytes;
  own->counters.peak = std::max<int64_t>(own->counters.peak, live);
  return {static_cast<std::byte*>(block), [own = own, bytes](std::byte* p) {
            own->counters.live -= bytes;
            cudaFreeAsync(p,
                          own->stream);  // in the stream's order: work in flight may still use it
          }};
}

AllocatorStats allocator_stats() {
  const Counters& c = context()->counters;
  return {c.live, c.peak, c.live};
}

void copy(const std::byte* from, Device from_device, std::byte* to, Device to_device,
          int64_t bytes) {
  if (bytes == 0) return;
  const auto kind = from_device == Device::CPU  ? cudaMemcpyHostToDevice
                    : to_device == Device::CUDA ? cudaMemcpyDeviceToDevice
                                                : cudaMemcpyDeviceToHost;
  CUDA_CHECK(cudaMemcpyAsync(to, from, size_t(bytes), kind, stream()));
  if (kind != cudaMemcpyDeviceToDevice) synchronize();
}

void set_watch(std::function<void()> watch) { context()->watch = std::move(watch); }

// By asking, not by waiting inside the driver: a message that never comes must not hang the rank.
void synchronize() {
  const auto& own = context();
  cudaError_t status = cudaStreamQuery(own->stream);
  while (status == cudaErrorNotReady) {
    if (own->watch) own->watch();
    status = cudaStreamQuery(own->stream);
  }
  CUDA_CHECK(status);
}

std::string device_id() {
  char id[32] = {};
  CUDA_CHECK(cudaDeviceGetPCIBusId(id, sizeof id, context()->device));
  return id;
}

}  // namespace switchyard::cuda
