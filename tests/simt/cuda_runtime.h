// A GPU made of the CPU, for tests on machines without one: the kernels of tensor/cuda/*.cu are compiled by
// the host compiler against this file in place of the toolkit's. A launch runs every block in turn; the threads
// of a block are fibers that change at barriers and warp operations, so that the arithmetic, the index
// arithmetic and the barriers are those of the kernel. What it shows: results, writes next to an allocation, reads of memory
// that nobody wrote (NaN), host code that touches device memory (the process dies with SIGSEGV: it is
// mapped during launches and copies only), barriers that not every thread reaches, most barriers that are missing,
// streams that do not wait for each other (order.h).
// What it cannot show: races between blocks, speed, and what the real compiler makes of the code.
#pragma once
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <type_traits>

#include "order.h"

#define SWITCHYARD_SIMT 1
#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __shared__ static thread_local  // a rank thread runs one block at a time
#define CUDART_VERSION 13000

// --- types and the runtime's functions ----------------------------------------------------------------
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
using uint3 = dim3;
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorNotReady = 600
};
inline const char* cudaGetErrorString(cudaError_t e) {
  return e == cudaSuccess ? "no error" : "emulated error";
}
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
using cudaStream_t = struct SimtStream*;
using cudaEvent_t = struct SimtEvent*;
using cudaMemPool_t = struct SimtPool*;
enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2 };
enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault
};
enum cudaMemLocationType { cudaMemLocationTypeDevice = 1 };
enum cudaMemAccessFlags { cudaMemAccessFlagsProtReadWrite = 3 };
struct cudaMemAccessDesc {
  struct {
    cudaMemLocationType type;
    int id;
  } location;
  cudaMemAccessFlags flags;
};
enum cudaMemPoolAttr { cudaMemPoolAttrReleaseThreshold = 4 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97
};
struct cudaDeviceProp {
  char name[256];
  int major, minor, multiProcessorCount;
  size_t totalGlobalMem;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
};

cudaError_t cudaGetDeviceCount(int* n);
cudaError_t cudaMallocAsync(void** p, size_t bytes, cudaStream_t);
cudaError_t cudaFreeAsync(void* p,
                          cudaStream_t);  // dies when somebody wrote next to the allocation
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t);
cudaError_t cudaMemsetAsync(void* p, int value, size_t bytes, cudaStream_t);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int device);
cudaError_t cudaDeviceGetPCIBusId(char* id, int size, int device);
cudaError_t cudaMallocHost(void** p, size_t bytes);  // pinned
cudaError_t cudaFreeHost(void* p);
inline cudaError_t cudaSetDevice(int) { return cudaSuccess; }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned);
cudaError_t cudaStreamDestroy(cudaStream_t);
cudaError_t cudaStreamSynchronize(cudaStream_t);
cudaError_t cudaStreamQuery(cudaStream_t);  // the first to ask about new work is told to wait
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned = 0);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned);
cudaError_t cudaEventDestroy(cudaEvent_t);
cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t);
cudaError_t cudaEventQuery(cudaEvent_t);
inline cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) { return *can = 1, cudaSuccess; }
inline cudaError_t cudaMemPoolSetAccess(cudaMemPool_t, const cudaMemAccessDesc*, size_t) {
  return cudaSuccess;
}
inline cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* p, int) {
  return *p = nullptr, cudaSuccess;
}
inline cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) {
  return cudaSuccess;
}
inline cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }

// --- the running thread ---------------------------------------------------------------------------------
namespace simt {

struct Place {
  dim3 thread, block, block_size, grid_size;
};
extern thread_local Place place;  // of the fiber that runs now
inline int lane() {
  return int((place.thread.x +
              place.block_size.x * (place.thread.y + place.block_size.y * place.thread.z)) %
             32);
}

void run(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& thread);
void* dynamic_shared();
void block_barrier();
void warp_barrier(unsigned mask);
void yield();     // lets the other threads of the block run ...
void advanced();  // ... until what they wait for is there: without any for long, the block hangs
template <class P>
void wait_until(const P& ready) {
  while (!ready()) yield();
  advanced();
}
uint64_t* warp_slots();  // 32 words of the running fiber's warp

bool on_device(const void* p);
bool inside_allocation(const void* p, size_t bytes);  // all of them in one that is live
[[noreturn]] void die(const char* why);

extern std::atomic<bool> stuck;  // the GPU never gets anything done: queries say so

// A kernel's pointers point to device memory, or nowhere. const T* is read, T* written; what a structure points
// to counts as written. Not looked at are structures with padding, which may hold old pointers, or with
// floating-point members, and so the grouped products.
template <class T>
void use_argument(Work& work, const T& argument) {
  if constexpr (std::is_pointer_v<T>) {
    if (argument && !on_device(argument)) die("a kernel got a pointer to host memory");
    constexpr bool reads = std::is_const_v<std::remove_pointer_t<T>>;
    if (argument) work.use_all(argument, reads ? Use::Read : Use::Write);
  } else if constexpr (std::is_class_v<T> && std::has_unique_object_representations_v<T>) {
    work.use_words(&argument, sizeof argument);
  }
}

// Every lane of the mask gives a value and sees those of all others.
template <class T, class F>
auto warp_exchange(unsigned mask, T value, const F& result) {
  static_assert(sizeof(T) <= 8);
  uint64_t* slots = warp_slots();
  std::memcpy(&slots[lane()], &value, sizeof(T));
  warp_barrier(mask);
  const auto r = result([slots](int l) {
    T v;
    std::memcpy(&v, &slots[l], sizeof(T));
    return v;
  });
  warp_barrier(mask);  // before anybody writes the next values
  return r;
}

}  // namespace simt

#define threadIdx (::simt::place.thread)
#define blockIdx (::simt::place.block)
// Not macros: the launch configuration has members of these names.
extern constinit thread_local dim3 blockDim, gridDim;

template <class... P, class... A>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* c, void (*kernel)(P...), A&&... args) {
  const auto size = c->blockDim.x * c->blockDim.y * c->blockDim.z;
  if (size == 0 || size > 1024 || c->gridDim.x == 0 || c->gridDim.y == 0 || c->gridDim.z == 0 ||
      c->gridDim.y > 65535 || c->gridDim.z > 65535 || c->dynamicSmemBytes > 227 * 1024)
    return cudaErrorInvalidValue;
  simt::Work work(c->stream, "a kernel");
  (simt::use_argument<P>(work, P(args)), ...);
  simt::run(c->gridDim, c->blockDim, c->dynamicSmemBytes, [&] { kernel(P(args)...); });
  return cudaSuccess;
}

// --- device functions --------------------------------------------------------------------------------------
inline void __syncthreads() { simt::block_barrier(); }
inline void __syncwarp(unsigned mask = ~0u) { simt::warp_barrier(mask); }
inline void __threadfence() {}
template <class T>
T __shfl_sync(unsigned mask, T v, int from, int width = 32) {
  return simt::warp_exchange(
      mask, v, [&](auto of) { return of(simt::lane() / width * width + from % width); });
}
template <class T>
T __shfl_xor_sync(unsigned mask, T v, int bits) {
  return simt::warp_exchange(mask, v, [&](auto of) { return of(simt::lane() ^ bits); });
}
template <class T>
T __shfl_down_sync(unsigned mask, T v, int d) {
  return simt::warp_exchange(mask, v, [&](auto of) {
    return of(simt::lane() + d < 32 ? simt::lane() + d : simt::lane());
  });
}
template <class T>
T __shfl_up_sync(unsigned mask, T v, int d) {
  return simt::warp_exchange(
      mask, v, [&](auto of) { return of(simt::lane() >= d ? simt::lane() - d : simt::lane()); });
}
inline unsigned __ballot_sync(unsigned mask, bool v) {
  return simt::warp_exchange(mask, v, [&](auto of) {
    unsigned bits = 0;
    for (int l = 0; l < 32; ++l)
      if (mask >> l & 1 && of(l)) bits |= 1u << l;
    return bits;
  });
}
template <class T>
unsigned __match_any_sync(unsigned mask, T v) {
  return simt::warp_exchange(mask, v, [&](auto of) {
    unsigned bits = 0;
    for (int l = 0; l < 32; ++l)
      if (mask >> l & 1 && of(l) == v) bits |= 1u << l;
    return bits;
  });
}
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
template <class T>
T __ldg(const T* p) {
  return *p;
}
using std::max;
using std::min;
