// A rank's share of a GPU: device, streams, stream-ordered pool, events. Read next: staging.h.
#include "tensor/cuda/context.h"

#include <cublasLt.h>

#include <algorithm>
#include <atomic>
#include <chrono>

#include "tensor/cuda/staging.h"

namespace switchyard::cuda {
namespace {

struct Counters {  // blocks may be freed on other threads
  std::atomic<int64_t> live = 0, peak = 0;
};

struct Context {
  explicit Context(int index) : device(index) {
    CUDA_CHECK(cudaSetDevice(device));
    CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    CUDA_CHECK(cudaStreamCreateWithFlags(&communication, cudaStreamNonBlocking));
    CUDA_CHECK(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device));
    int major = 0, minor = 0;
    CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
    CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
    capability = 10 * major + minor;
    // The pool keeps what it has: a training step asks the driver for nothing.
    CUDA_CHECK(cudaDeviceGetDefaultMemPool(&pool, device));
    uint64_t keep_all = UINT64_MAX;
    CUDA_CHECK(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep_all));
  }
  ~Context() {
    for (cudaStream_t s : {stream, communication}) {
      cudaStreamSynchronize(s);
      cudaStreamDestroy(s);
    }
  }
  Context(const Context&) = delete;

  const int device;
  int processors = 0, capability = 0;
  cudaStream_t stream = nullptr, communication = nullptr;
  cudaMemPool_t pool = nullptr;
  std::function<void()> watch;
  std::vector<std::weak_ptr<const std::function<void()>>> watches;
  double patience = 1800;  // seconds
  int64_t waits = 0;
  std::unique_ptr<PinnedRing> ring;
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
cudaStream_t communication_stream() { return context()->communication; }
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

void set_watch(std::function<void()> watch, double patience) {
  context()->watch = std::move(watch);
  context()->patience = patience;
}
void add_watch(std::weak_ptr<const std::function<void()>> watch) {
  std::erase_if(context()->watches, [](const auto& w) { return w.expired(); });
  context()->watches.push_back(std::move(watch));
}

void wait_until(const std::function<cudaError_t()>& query) {
  using Clock = std::chrono::steady_clock;
  Context& own = *context();
  ++own.waits;
  const auto start = Clock::now();
  cudaError_t status = query();
  for (; status == cudaErrorNotReady; status = query()) {
    if (own.watch) own.watch();
    for (const auto& watch : own.watches)
      if (const auto w = watch.lock()) (*w)();
    if (Clock::now() - start > std::chrono::duration<double>(own.patience))
      throw Error(concat("the GPU has not done its work for ", own.patience,
                         " seconds: a message from another GPU may never come"));
  }
  CUDA_CHECK(status);
}
void wait_for(const Event& event) {
  wait_until([&] { return cudaEventQuery(static_cast<cudaEvent_t>(event.get())); });
}
void synchronize() {
  wait_until([] {
    const cudaError_t status = cudaStreamQuery(stream());
    return status == cudaSuccess ? cudaStreamQuery(communication_stream()) : status;
  });
}
int64_t waits() { return context()->waits; }

PinnedRing& pinned_ring() {
  auto& ring = context()->ring;
  if (!ring) ring = std::make_unique<PinnedRing>();
  return *ring;
}

// --- events -----------------------------------------------------------------------------------------------

Event record(cudaStream_t stream) {
  cudaEvent_t event = nullptr;
  CUDA_CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  const Event owned(event, [](void* e) { cudaEventDestroy(static_cast<cudaEvent_t>(e)); });
  CUDA_CHECK(cudaEventRecord(event, stream));
  return owned;
}
Event computed() { return record(stream()); }
Event communicated() { return record(communication_stream()); }

void compute_after(const Event& event) {
  CUDA_CHECK(cudaStreamWaitEvent(stream(), static_cast<cudaEvent_t>(event.get()), 0));
}
void communicate_after(const Event& event) {
  CUDA_CHECK(cudaStreamWaitEvent(communication_stream(), static_cast<cudaEvent_t>(event.get()), 0));
}
bool done(const Event& event) {
  const cudaError_t status = cudaEventQuery(static_cast<cudaEvent_t>(event.get()));
  if (status != cudaErrorNotReady) CUDA_CHECK(status);
  return status == cudaSuccess;
}

// --- other GPUs -------------------------------------------------------------------------------------------

int device_index() { return context()->device; }

bool open_to(const std::vector<int>& devices) {
  for (const int peer : devices) {
    if (peer == context()->device) continue;
    int can = 0;
    CUDA_CHECK(cudaDeviceCanAccessPeer(&can, peer, context()->device));
    if (!can) return false;
    cudaMemAccessDesc access = {};
    access.location.type = cudaMemLocationTypeDevice;
    access.location.id = peer;
    access.flags = cudaMemAccessFlagsProtReadWrite;
    CUDA_CHECK(cudaMemPoolSetAccess(context()->pool, &access, 1));
  }
  return true;
}

std::string device_id() {
  char id[32] = {};
  CUDA_CHECK(cudaDeviceGetPCIBusId(id, sizeof id, context()->device));
  return id;
}

}  // namespace switchyard::cuda
