// The instructions of the tensor-core kernels: ldmatrix, mma.sync m16n8k16 in bf16, cp.async. On the emulated
// GPU their meaning is written out (tests/simt/mma.h).
// Lanes in an 8x8 matrix of ldmatrix: lane l gives the address of row l % 8 of matrix l / 8, and receives the
// elements 2 (l % 4) and 2 (l % 4) + 1 of row l / 4 (transposed: of column l / 4) of every matrix.
#pragma once
#include "tensor/cuda/context.h"

#ifdef SWITCHYARD_SIMT
#include "tests/simt/mma.h"
#else
namespace switchyard::cuda {

__device__ __forceinline__ unsigned char* dynamic_shared() {  // 128-byte aligned
  extern __shared__ __align__(128) unsigned char bytes[];
  return bytes;
}
__device__ __forceinline__ uint32_t shared_address(const void* p) {
  return uint32_t(__cvta_generic_to_shared(p));
}

template <bool transposed>
__device__ __forceinline__ void ldmatrix(uint32_t (&r)[4], const void* row) {
  if constexpr (transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

// c [16, 8] += a [16, 16] b [16, 8]
__device__ __forceinline__ void mma_bf16(float* c, const uint32_t (&a)[4], uint32_t b0,
                                         uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// 16 bytes to shared memory, zeros when not live; they are there after the wait for their group.
__device__ __forceinline__ void cp_async_16(void* to, const void* from, bool live) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
               "r"(live ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void cp_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int pending>  // all but the last so many groups
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {  // nearest even
  uint32_t both;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
}

}  // namespace switchyard::cuda
#endif
