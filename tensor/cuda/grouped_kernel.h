// What both grouped kernels share on the device: their argument, the count of row tiles, and the way of the
// accumulators to memory.
// Read before: grouped_tiles.h, mma.h.
#pragma once
#include "tensor/cuda/grouped_tiles.h"
#include "tensor/cuda/mma.h"

namespace switchyard::cuda {

// c = a b for every group. Ragged M (forward, dx): the group's rows of a and c, b its weights.
// Ragged K (dw): a and b are the group's rows of dy and x, c its dw.
struct GroupedProduct {
  const BFloat16 *a, *b;
  void* c;
  const void* bias;  // of ragged M; null: none
  bool bias_f32;     // else bf16
  const int64_t* offsets;
  int groups, m, n, k;  // ragged M: m rows in all; ragged K: k rows in all
};

// first[g] = row tiles of the groups before g, first[groups] = of all; for one warp of the block. All threads
// of the block call it.
__device__ inline void count_row_tiles(const int64_t* offsets, int groups, int tile_m,
                                       int64_t* first) {
  if (threadIdx.x < 32) {
    const int lane = int(threadIdx.x);
    int64_t before = 0;
    for (int base = 0; base < groups; base += 32) {
      const int g = base + lane;
      const int64_t own = g < groups ? tiles::ceil_div(offsets[g + 1] - offsets[g], tile_m) : 0;
      int64_t sum = own;
      for (int d = 1; d < 32; d *= 2) {
        const int64_t lower = __shfl_up_sync(~0u, sum, d);
        if (lane >= d) sum += lower;
      }
      if (g < groups) first[g] = before + sum - own;
      before += __shfl_sync(~0u, sum, 31);
    }
    if (lane == 0) first[groups] = before;
  }
  __syncthreads();
}

// Lane t of a quad holds v[i] = pair t of block i and gets pair i of block t: a transposition in two exchanges.
__device__ __forceinline__ void transpose_in_quad(uint32_t (&v)[4], int t) {
#pragma unroll
  for (int bit = 1; bit <= 2; bit *= 2) {
    const bool upper = t & bit;
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      if (p & bit) continue;
      const uint32_t other = __shfl_xor_sync(~0u, upper ? v[p] : v[p + bit], bit);
      v[p] = upper ? other : v[p];
      v[p + bit] = upper ? v[p + bit] : other;
    }
  }
}

// Four blocks of 8 columns of a row, as a quad holds them in accumulators: lane t has v[2j], v[2j+1] = columns
// 8j + 2t and the next. Stores those before `columns`, a multiple of 8. All lanes of the warp call it.
__device__ __forceinline__ void store_32(const float (&v)[8], BFloat16* row, int columns,
                                         bool live) {
  const int t = int(threadIdx.x % 4);
  uint32_t pair[4] = {pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]), pack_bf16(v[4], v[5]),
                      pack_bf16(v[6], v[7])};
  transpose_in_quad(pair, t);
  if (live && 8 * t < columns)
    *reinterpret_cast<uint4*>(row + 8 * t) = {pair[0], pair[1], pair[2], pair[3]};
}
__device__ __forceinline__ void store_32(const float (&v)[8], float* row, int columns, bool live) {
  const int t = int(threadIdx.x % 4);
#pragma unroll
  for (int j = 0; j < 4; ++j)
    if (live && 8 * j < columns)
      *reinterpret_cast<float2*>(row + 8 * j + 2 * t) = {v[2 * j], v[2 * j + 1]};
}

// The bias of the same columns; at: the index of the first
__device__ __forceinline__ void load_bias(const GroupedProduct& p, int64_t at, int columns,
                                          float (&bias)[8]) {
  const int t = int(threadIdx.x % 4);
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    float2 pair = {0, 0};
    if (p.bias && 8 * j < columns) {
      const int64_t i = at + 8 * j + 2 * t;
      if (p.bias_f32) {
        pair = *reinterpret_cast<const float2*>(static_cast<const float*>(p.bias) + i);
      } else {
        const uint32_t both =
            *reinterpret_cast<const uint32_t*>(static_cast<const BFloat16*>(p.bias) + i);
        pair = {__builtin_bit_cast(float, both << 16),
                __builtin_bit_cast(float, both & 0xFFFF0000u)};
      }
    }
    bias[2 * j] = pair.x;
    bias[2 * j + 1] = pair.y;
  }
}

}  // namespace switchyard::cuda
