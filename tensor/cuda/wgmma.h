// The instructions of Hopper's matrix kernels: mbarriers, TMA loads, wgmma. Only sm_90a has them all.
// A barrier's phase ends when all arrivals and all announced bytes are there; a wait names the parity of the
// phase it waits for, and a fresh barrier counts as past a phase of parity 1.
#pragma once
#include <cuda.h>

#include "tensor/cuda/mma.h"

#ifdef SWITCHYARD_SIMT
#include "tests/simt/wgmma.h"
#else
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define SWITCHYARD_WGMMA 1  // elsewhere a kernel's body is empty
#endif
namespace switchyard::cuda {

__device__ __forceinline__ void barrier_init(uint64_t* b, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(b)), "r"(arrivals));
}
__device__ __forceinline__ void barrier_arrive(uint64_t* b) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(b)) : "memory");
}
__device__ __forceinline__ void barrier_expect(uint64_t* b, int bytes) {  // arrives, too
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(b)),
               "r"(bytes)
               : "memory");
}
__device__ __forceinline__ bool barrier_try(uint64_t* b, uint32_t parity) {
  uint32_t over;
  asm volatile(
      "{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, "
      "p;\n}"
      : "=r"(over)
      : "r"(shared_address(b)), "r"(parity)
      : "memory");
  return over;
}
__device__ __forceinline__ void barrier_wait(uint64_t* b, uint32_t parity) {
#ifdef NDEBUG
  while (!barrier_try(b, parity)) {
  }
#else  // a wait without end is a wrong number of bytes or a wrong parity: stop instead of hanging
  for (int tries = 0; !barrier_try(b, parity); ++tries)
    if (tries > 1 << 22) __trap();
#endif
}

// Of the block's first so many threads
template <int threads>
__device__ __forceinline__ void barrier_of_warps() {
  asm volatile("bar.sync 1, %0;" ::"n"(threads) : "memory");
}
// The barriers are there for TMA, too.
__device__ __forceinline__ void barrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
// What this thread has stored in shared memory is there for wgmma and TMA, after the next barrier.
__device__ __forceinline__ void proxy_fence() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// All threads of a warpgroup: from now on it has so many registers for each.
template <int registers>
__device__ __forceinline__ void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
}
template <int registers>
__device__ __forceinline__ void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
}

// A box of the map's matrix `group`, from its column and row on; zeros beyond the matrix.
__device__ __forceinline__ void tma_fetch(void* to, const CUtensorMap* map, uint64_t* b, int column,
                                          int row, int group) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, "
      "%4, %5}], [%2];" ::"r"(shared_address(to)),
      "l"(map), "r"(shared_address(b)), "r"(column), "r"(row), "r"(group)
      : "memory");
}

__device__ __forceinline__ void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int pending>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}
// The compiler takes accumulators for final once wgmma was issued: keep their use behind the wait.
__device__ __forceinline__ void hold(float (&d)[128]) {
#pragma unroll
  for (int i = 0; i < 128; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

// d (+)= a b, the warpgroup's 64 x 256 tile, 16 inner elements; `add` false: d = a b.
// The last two operands of the instruction: 1 = the operand is MN-major.
template <bool a_k_major, bool b_k_major>
__device__ __forceinline__ void wgmma_64x256x16(float (&d)[128], uint64_t a, uint64_t b, bool add) {
#define TEN(i) \
  "%" #i "0,%" #i "1,%" #i "2,%" #i "3,%" #i "4,%" #i "5,%" #i "6,%" #i "7,%" #i "8,%" #i "9,"
#define EIGHT(i)                                                                              \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
      "+f"(d[i + 6]), "+f"(d[i + 7])
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %130, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9," TEN(1)
          TEN(2) TEN(3) TEN(4) TEN(5) TEN(6) TEN(7) TEN(8) TEN(9) TEN(10) TEN(
              11) "%120,%121,%122,%123,%124,%125,%126,%127}, %128, %129, p, 1, 1, %131, %132;\n}"
      : EIGHT(0), EIGHT(8), EIGHT(16), EIGHT(24), EIGHT(32), EIGHT(40), EIGHT(48), EIGHT(56),
        EIGHT(64), EIGHT(72), EIGHT(80), EIGHT(88), EIGHT(96), EIGHT(104), EIGHT(112), EIGHT(120)
      : "l"(a), "l"(b), "r"(int(add)), "n"(!a_k_major), "n"(!b_k_major));
#undef EIGHT
#undef TEN
}

}  // namespace switchyard::cuda
#endif

namespace switchyard::cuda {

// Where a thread is in the ring of stages, and the parity of the stage's phase
template <int stages>
struct Ring {
  int stage = 0;
  uint32_t parity = 0;
  __device__ __forceinline__ void next() {
    if (++stage == stages) stage = 0, parity ^= 1;
  }
};

}  // namespace switchyard::cuda
