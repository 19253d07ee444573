// Grouped products with wgmma and TMA, for H100/H200 (sm_90a). A block has three warpgroups: two multiply, 64 x 256
// of a tile each, the third has one thread that fetches. Four stages of 64 inner elements go round: `full` says that
// a stage's bytes are there, `empty` that both multipliers are done with it.
// Read before: grouped_kernel.h, wgmma.h, tensor_map.h.
#include <algorithm>

#include "tensor/cuda/grouped_gemm.h"
#include "tensor/cuda/grouped_wgmma.h"
#include "tensor/cuda/tensor_map.h"
#include "tensor/cuda/wgmma.h"

namespace switchyard::cuda {
namespace {

constexpr int kThreads = 384, kStages = 4, kTileM = 128, kTileN = 256;
constexpr int kBox = 64 * 128;  // bytes of 64 lines
constexpr int kBytesA = kTileM / 64 * kBox, kBytes = kBytesA + kTileN / 64 * kBox;

// 1024 bytes more than the stages, to align them
size_t shared_bytes(const GroupedProduct& p) {
  return size_t(1024) + kStages * kBytes + 2 * kStages * 8 + 8 * (size_t(p.groups) + 1);
}

// A group's last stage of ragged K has rows of the next group in a and b. Both must go: 0 * NaN is NaN.
[[maybe_unused]] __device__ __forceinline__ void zero_lines(unsigned char* stage, int live) {
  const int chunks = (tiles::kStep - live) * 8;  // of 16 bytes, in each box
  for (int box = 0; box < kBytes / kBox; ++box)
    for (int i = int(threadIdx.x); i < chunks; i += 256)
      reinterpret_cast<uint4*>(stage + box * kBox + live * 128)[i] = {0, 0, 0, 0};
}

template <bool ragged_k, bool b_k_major, class Out>
__global__ void __launch_bounds__(kThreads, 1)
    grouped_product(const GroupedProduct p, const __grid_constant__ CUtensorMap map_a,
                    const __grid_constant__ CUtensorMap map_b) {
#ifdef SWITCHYARD_WGMMA
  constexpr bool a_k_major = !ragged_k;
  unsigned char* raw = dynamic_shared();
  unsigned char* stages = raw + (1024 - shared_address(raw) % 1024) % 1024;
  uint64_t* full = reinterpret_cast<uint64_t*>(stages + kStages * kBytes);
  uint64_t* empty = full + kStages;
  int64_t* first = reinterpret_cast<int64_t*>(empty + kStages);
  if (threadIdx.x == 0) {
    for (int s = 0; s < kStages; ++s) {
      barrier_init(full + s, 1);
      barrier_init(empty + s, 8);  // the warps that multiply
    }
    barrier_init_fence();
  }
  const int64_t column_tiles = tiles::ceil_div(p.n, kTileN),
                row_tiles = tiles::ceil_div(p.m, kTileM);
  int64_t count = p.groups * row_tiles * column_tiles;
  if constexpr (ragged_k) {
    __syncthreads();
  } else {
    count_row_tiles(p.offsets, p.groups, kTileM, first);
    count = first[p.groups] * column_tiles;
  }
  auto tile = [&](int64_t t) {
    if constexpr (ragged_k) return tiles::equal_tile(t, row_tiles, column_tiles, kTileM, kTileN);
    else return tiles::ragged_tile(first, p.groups, t, column_tiles, kTileM, kTileN);
  };
  Ring<kStages> ring;
  if (threadIdx.x >= 256) {  // --- fetch
    give_registers<40>();
    for (int64_t t = threadIdx.x == 256 ? blockIdx.x : count; t < count; t += gridDim.x) {
      const tiles::Tile at = tile(t);
      const int start = int(p.offsets[at.group]), column = int(at.column), row = int(at.row);
      const int k = ragged_k ? int(p.offsets[at.group + 1]) - start : p.k;
      for (int done = 0; done < k; done += tiles::kStep) {
        unsigned char *a = stages + ring.stage * kBytes, *b = a + kBytesA;
        uint64_t* here = full + ring.stage;
        barrier_wait(empty + ring.stage, ring.parity ^ 1);
        barrier_expect(here, kBytes);  // zeros beyond the matrix count
        if constexpr (ragged_k) {
          for (int i = 0; i < kTileM / 64; ++i)
            tma_fetch(a + i * kBox, &map_a, here, row + 64 * i, start + done, 0);
          for (int i = 0; i < kTileN / 64; ++i)
            tma_fetch(b + i * kBox, &map_b, here, column + 64 * i, start + done, 0);
        } else {
          // Rows of the next group come along: they are computed and not stored.
          tma_fetch(a, &map_a, here, done, start + row, 0);
          if constexpr (b_k_major) tma_fetch(b, &map_b, here, done, column, at.group);
          else
            for (int i = 0; i < kTileN / 64; ++i)
              tma_fetch(b + i * kBox, &map_b, here, column + 64 * i, done, at.group);
        }
        ring.next();
      }
    }
  } else {  // --- multiply
    take_registers<232>();
    const int group_of_warps = int(threadIdx.x / 128), warp = int(threadIdx.x / 32 % 4),
              lane = int(threadIdx.x % 32);
    for (int64_t t = blockIdx.x; t < count; t += gridDim.x) {
      const tiles::Tile at = tile(t);
      const int64_t start = p.offsets[at.group], end = p.offsets[at.group + 1];
      const int k = ragged_k ? int(end - start) : p.k;
      const int rows = tiles::clamp(ragged_k ? p.m - at.row : end - start - at.row, kTileM);
      const int columns = tiles::clamp(p.n - at.column, kTileN);
      if (!ragged_k && 64 * group_of_warps >= rows) {  // the other 64 rows are all there is
        for (int done = 0; done < k; done += tiles::kStep, ring.next()) {
          barrier_wait(full + ring.stage, ring.parity);
          if (lane == 0) barrier_arrive(empty + ring.stage);
        }
        continue;
      }
      float acc[128];
      int before = -1;  // the stage of the step that may still be computed
      for (int done = 0; done < k; done += tiles::kStep) {
        barrier_wait(full + ring.stage, ring.parity);
        unsigned char* stage = stages + ring.stage * kBytes;
        if (ragged_k && k - done < tiles::kStep) {
          zero_lines(stage, k - done);
          proxy_fence();
          barrier_of_warps<256>();
        }
        const uint64_t a =
            tiles::operand_descriptor(a_k_major, shared_address(stage) + group_of_warps * kBox);
        const uint64_t b = tiles::operand_descriptor(b_k_major, shared_address(stage) + kBytesA);
        wgmma_fence();
#pragma unroll
        for (int i = 0; i < tiles::kStep / 16; ++i)
          wgmma_64x256x16<a_k_major, b_k_major>(acc, a + i * tiles::k16_bytes(a_k_major) / 16,
                                                b + i * tiles::k16_bytes(b_k_major) / 16,
                                                done + i > 0);
        wgmma_commit();
        wgmma_wait<1>();
        if (before >= 0 && lane == 0) barrier_arrive(empty + before);
        before = ring.stage;
        ring.next();
      }
      wgmma_wait<0>();
      hold(acc);
      if (before >= 0 && lane == 0) barrier_arrive(empty + before);
      if (ragged_k && k == 0) {
#pragma unroll
        for (int i = 0; i < 128; ++i) acc[i] = 0;
      }
      const int64_t first_row = ragged_k ? int64_t(at.group) * p.m + at.row : start + at.row;
#pragma unroll
      for (int strip = 0; strip < kTileN / 32; ++strip) {
        const int left = columns - 32 * strip;
        float bias[8];
        load_bias(p, int64_t(at.group) * p.n + at.column + 32 * strip, left, bias);
#pragma unroll
        for (int half = 0; half < 4; half += 2) {
          const int row = group_of_warps * 64 + warp * 16 + tiles::c_row(lane, half);
          float v[8];
#pragma unroll
          for (int j = 0; j < 8; ++j) v[j] = acc[16 * strip + j / 2 * 4 + half + j % 2] + bias[j];
          store_32(v, static_cast<Out*>(p.c) + (first_row + row) * p.n + at.column + 32 * strip,
                   left, row < rows);
        }
      }
    }
  }
#endif
}

template <bool ragged_k, bool b_k_major, class Out>
void launch_product(const GroupedProduct& p) {
  const int64_t row_tiles = ragged_k ? p.groups * ceil_div(p.m, kTileM)  // else at most
                                     : ceil_div(p.m, kTileM) + std::min(p.groups, p.m);
  const int64_t blocks = std::min<int64_t>(row_tiles * ceil_div(p.n, kTileN), multiprocessors());
  const CUtensorMap a =
      ragged_k ? tensor_map(p.a, p.m, p.k, 1, 64) : tensor_map(p.a, p.k, p.m, 1, kTileM);
  const CUtensorMap b = ragged_k    ? tensor_map(p.b, p.n, p.k, 1, 64)
                        : b_k_major ? tensor_map(p.b, p.k, p.n, p.groups, kTileN)
                                    : tensor_map(p.b, p.n, p.k, p.groups, 64);
  launch(grouped_product<ragged_k, b_k_major, Out>, dim3(unsigned(blocks)), kThreads,
         shared_bytes(p), p, a, b);
}

}  // namespace

bool wgmma_available() { return compute_capability() == 90 && tensor_maps_available(); }

void grouped_wgmma(const GroupedProduct& p, bool b_k_major) {
  check(wgmma_available(), "wgmma needs an H100 or H200 and its driver");
  (b_k_major ? launch_product<false, true, BFloat16> : launch_product<false, false, BFloat16>)(p);
}

void grouped_wgmma_dw(const GroupedProduct& p, bool f32) {
  check(wgmma_available(), "wgmma needs an H100 or H200 and its driver");
  (f32 ? launch_product<true, false, float> : launch_product<true, false, BFloat16>)(p);
}

}  // namespace switchyard::cuda
