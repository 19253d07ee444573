// Grouped products with mma.sync, for sm_80 and newer. A block takes the tiles blockIdx, blockIdx + gridDim, ...
// of c; three stages of 64 inner elements come by cp.async, and the first stages of the next tile travel while
// the present one is stored.
// Read before: grouped_kernel.h. Read next: grouped_wgmma.cu.
#include <algorithm>

#include "tensor/cuda/grouped_gemm.h"
#include "tensor/cuda/grouped_kernel.h"
#include "tensor/cuda/grouped_wgmma.h"

namespace switchyard::cuda {
namespace {

constexpr int kThreads = 256, kStages = 3, kTileN = 128;

// A thread's chunks of an operand's stage, one stage after the other; zeros beyond the matrix.
template <bool k_major, int extent>  // extent: rows of a, or columns of b, in a tile
struct Loader {
  static constexpr int kChunks = tiles::chunks_in_line(k_major, extent);
  static constexpr int kLines = kThreads / kChunks;  // from one of its chunks to the next
  static constexpr int kEach = extent * tiles::kStep / tiles::kChunk / kThreads;
  static_assert(kLines % 8 == 0, "the swizzle is the same for all of a thread's chunks");

  const BFloat16* from;
  int64_t pitch;
  int live;  // of the extent

  __device__ static int line() { return int(threadIdx.x) / kChunks; }
  __device__ static int chunk() { return int(threadIdx.x) % kChunks; }

  __device__ void start(const BFloat16* first, int64_t pitch_of_lines, int live_extent) {
    from = first + line() * pitch_of_lines + chunk() * tiles::kChunk;
    pitch = pitch_of_lines;
    live = live_extent;
  }
  // left: inner elements from here on; base: any address in the matrix
  __device__ void load(unsigned char* stage, int left, const BFloat16* base) {
    const int k = min(left, tiles::kStep), lines = k_major ? live : k,
              elements = k_major ? k : live;
    const int first = chunk() * tiles::kChunk < elements ? line() : extent + tiles::kStep;
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      const bool here = first + j * kLines < lines;
      cp_async_16(stage + tiles::chunk_offset(kChunks, line() + j * kLines, chunk()),
                  here ? from + j * kLines * pitch : base, here);
    }
    from += k_major ? tiles::kStep : tiles::kStep * pitch;
  }
};

// acc += the stage's product; a warp has tile_m/2 x 32 of the tile, in blocks of 16 x 8.
template <bool a_k_major, bool b_k_major, int tile_m>
__device__ __forceinline__ void multiply_stage(const unsigned char* a, const unsigned char* b,
                                               int warp_m, int warp_n,
                                               float (&acc)[tile_m / 32][4][4]) {
  const int lane = int(threadIdx.x % 32);
#pragma unroll
  for (int k = 0; k < tiles::kStep; k += 16) {
    uint32_t fa[tile_m / 32][4], fb[2][4];
#pragma unroll
    for (int i = 0; i < tile_m / 32; ++i)
      ldmatrix<!a_k_major>(fa[i], a + tiles::a_offset(a_k_major, tile_m, lane, warp_m + 16 * i, k));
#pragma unroll
    for (int j = 0; j < 2; ++j)
      ldmatrix<!b_k_major>(fb[j], b + tiles::b_offset(b_k_major, kTileN, lane, k, warp_n + 16 * j));
#pragma unroll
    for (int i = 0; i < tile_m / 32; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j)
        mma_bf16(acc[i][j], fa[i], fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]);
  }
}

// Blocks that share a multiprocessor: before sm_90 it has memory for one with tiles of 128 rows. 128 registers
// for each thread when there are two; no spills in either.
constexpr int min_blocks([[maybe_unused]] int tile_m) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
  if (tile_m == 128) return 1;
#endif
  return 2;
}

template <bool ragged_k, bool b_k_major, int tile_m, class Out>
__global__ void __launch_bounds__(kThreads, min_blocks(tile_m))
    grouped_product(const GroupedProduct p) {
  constexpr bool a_k_major = !ragged_k;
  constexpr int kBytesA = tile_m * tiles::kStep * 2, kBytes = kBytesA + kTileN * tiles::kStep * 2;
  unsigned char* stages = dynamic_shared();
  int64_t* first = reinterpret_cast<int64_t*>(stages + kStages * kBytes);
  const int64_t column_tiles = tiles::ceil_div(p.n, kTileN),
                row_tiles = tiles::ceil_div(p.m, tile_m);
  int64_t count = p.groups * row_tiles * column_tiles;
  if constexpr (!ragged_k) {
    count_row_tiles(p.offsets, p.groups, tile_m, first);
    count = first[p.groups] * column_tiles;
  }
  const int warp = int(threadIdx.x / 32), lane = int(threadIdx.x % 32);
  const int warp_m = warp / 4 * (tile_m / 2), warp_n = warp % 4 * 32;

  Loader<a_k_major, tile_m> a;
  Loader<b_k_major, kTileN> b;
  int fill = 0, use = 0;  // stages
  int unloaded = 0;       // inner elements of the tile that is loaded
  auto load = [&] {
    if (unloaded > 0) {
      a.load(stages + fill * kBytes, unloaded, p.a);
      b.load(stages + fill * kBytes + kBytesA, unloaded, p.b);
      unloaded -= tiles::kStep;
    }
    cp_async_commit();  // also without loads: the waits count groups
    fill = fill + 1 == kStages ? 0 : fill + 1;
  };
  struct Work {
    Out* c;
    int rows, columns, k;
    int64_t bias;
  };
  // After a step, all warps are done with every stage but that step's: begin() may fill the two others.
  auto begin = [&](int64_t t) -> Work {
    if (t >= count) return {};
    tiles::Tile at;
    if constexpr (ragged_k) at = tiles::equal_tile(t, row_tiles, column_tiles, tile_m, kTileN);
    else at = tiles::ragged_tile(first, p.groups, t, column_tiles, tile_m, kTileN);
    const int64_t start = p.offsets[at.group], end = p.offsets[at.group + 1];
    const int columns = tiles::clamp(p.n - at.column, kTileN);
    Work w;
    if constexpr (ragged_k) {
      w = {static_cast<Out*>(p.c) + (int64_t(at.group) * p.m + at.row) * p.n + at.column,
           tiles::clamp(p.m - at.row, tile_m), columns, int(end - start), 0};
      a.start(p.a + start * p.m + at.row, p.m, w.rows);
      b.start(p.b + start * p.n + at.column, p.n, columns);
    } else {
      const int64_t row = start + at.row;
      w = {static_cast<Out*>(p.c) + row * p.n + at.column, tiles::clamp(end - row, tile_m), columns,
           p.k, int64_t(at.group) * p.n + at.column};
      a.start(p.a + row * p.k, p.k, w.rows);
      if (b_k_major) b.start(p.b + (int64_t(at.group) * p.n + at.column) * p.k, p.k, columns);
      else b.start(p.b + int64_t(at.group) * p.k * p.n + at.column, p.n, columns);
    }
    fill = use;
    unloaded = w.k;
    for (int s = 0; s < kStages - 1; ++s) load();
    return w;
  };

  Work now = begin(blockIdx.x);
  for (int64_t t = blockIdx.x; t < count; t += gridDim.x) {
    float acc[tile_m / 32][4][4] = {};
    for (int left = now.k; left > 0; left -= tiles::kStep) {
      cp_async_wait<kStages - 2>();
      __syncthreads();
      load();
      multiply_stage<a_k_major, b_k_major, tile_m>(
          stages + use * kBytes, stages + use * kBytes + kBytesA, warp_m, warp_n, acc);
      use = use + 1 == kStages ? 0 : use + 1;
    }
    const Work next = begin(t + gridDim.x);
    float bias[8];
    load_bias(p, now.bias + warp_n, now.columns - warp_n, bias);
#pragma unroll
    for (int i = 0; i < tile_m / 32; ++i)
#pragma unroll
      for (int half = 0; half < 4; half += 2) {
        const int row = warp_m + 16 * i + tiles::c_row(lane, half);
        float v[8];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          v[2 * j] = acc[i][j][half] + bias[2 * j];
          v[2 * j + 1] = acc[i][j][half + 1] + bias[2 * j + 1];
        }
        store_32(v, now.c + int64_t(row) * p.n + warp_n, now.columns - warp_n, row < now.rows);
      }
    now = next;
  }
}

// Shared memory of a multiprocessor, in KB
int shared_memory() {
  const int capability = compute_capability();
  if (capability == 80 || capability == 87) return 164;
  return capability == 86 || capability == 89 || capability >= 120 ? 100 : 228;
}

template <bool ragged_k, bool b_k_major, int tile_m, class Out>
void launch_product(const GroupedProduct& p) {
  const int64_t row_tiles = ragged_k ? p.groups * ceil_div(p.m, tile_m)  // else at most
                                     : ceil_div(p.m, tile_m) + std::min(p.groups, p.m);
  const int64_t count = row_tiles * ceil_div(p.n, kTileN);
  const size_t shared =
      size_t(kStages) * (tile_m + kTileN) * tiles::kStep * 2 + (ragged_k ? 0 : 8 * (p.groups + 1));
  const int64_t blocks =
      multiprocessors() * (2 * (shared + 1024) <= size_t(shared_memory()) * 1024 ? 2 : 1);
  launch(grouped_product<ragged_k, b_k_major, tile_m, Out>, dim3(unsigned(std::min(count, blocks))),
         kThreads, shared, p);
}

int rows_of(const Tensor& t) {
  int64_t n = 1;
  for (int i = 0; i + 1 < t.rank(); ++i) n *= t.dim(i);
  check(n < (1ll << 31) && t.dim(-1) < (1ll << 31),
        "grouped product: a matrix has 2^31 rows or columns");
  return int(n);
}
// bf16 in rows of whole pieces of 16 bytes
const BFloat16* checked(const char* name, const Tensor& t) {
  if (t.dim(-1) % 8 != 0 || reinterpret_cast<uintptr_t>(t.raw()) % 16 != 0)
    throw Error(
        concat("grouped product: ", name, " ", to_string(t.shape()),
               " needs rows of a multiple of 8 elements at an address that is a multiple of 16"));
  return t.data<BFloat16>();
}
void check_offsets(const Tensor& offsets, int64_t n) {
  check(offsets.numel() > 0, "grouped product: offsets are empty");
  if (offsets.device() == Device::CUDA) return;
  const int64_t *o = offsets.data<int64_t>(), *end = o + offsets.numel();
  check(*o == 0 && end[-1] == n && std::is_sorted(o, end),
        concat("grouped product: offsets do not rise from 0 to ", n));
}

}  // namespace

// wgmma is off until a run on a GPU has confirmed it: then it is the faster one where it is available.
GroupedKind grouped_product_kind() { return GroupedKind::Mma; }

void grouped_mma(const Tensor& x, const Tensor& offsets, const Tensor& w, bool transpose_w,
                 const Tensor& bias, Tensor& y, GroupedChoice choice) {
  const int n = rows_of(x), groups = int(offsets.numel() - 1);
  check_offsets(offsets, n);
  GroupedProduct p = {};
  p.a = checked("x", x), p.b = checked("w", w), checked("y", y), p.c = y.raw();
  p.groups = groups, p.m = n, p.n = int(y.dim(-1)), p.k = int(x.dim(-1));
  check(w.rank() >= 2 && w.numel() == int64_t(groups) * p.k * p.n &&
            w.dim(-1) == (transpose_w ? p.k : p.n) && rows_of(y) == n,
        concat("grouped product: x ", to_string(x.shape()), ", w ", to_string(w.shape()), " and y ",
               to_string(y.shape()), " do not fit"));
  if (bias.defined()) {
    check(bias.numel() == int64_t(groups) * p.n, "grouped product: bias is not [G, m]");
    p.bias_f32 = bias.dtype() == DType::F32;
    p.bias = p.bias_f32 ? static_cast<const void*>(bias.data<float>()) : bias.data<BFloat16>();
  }
  if (n == 0 || p.n == 0) return;
  const Tensor there = on_device(offsets);
  p.offsets = there.data<int64_t>();
  if (choice.kind == GroupedKind::Wgmma && p.k > 0) return grouped_wgmma(p, transpose_w);
  const int tile_rows = choice.tile_rows ? choice.tile_rows : n < 128 * int64_t(groups) ? 64 : 128;
  const bool small = tile_rows == 64 || shared_memory() < 104;
  if (transpose_w)
    (small ? launch_product<false, true, 64, BFloat16>
           : launch_product<false, true, 128, BFloat16>)(p);
  else
    (small ? launch_product<false, false, 64, BFloat16>
           : launch_product<false, false, 128, BFloat16>)(p);
}

void grouped_mma_dw(const Tensor& dy, const Tensor& x, const Tensor& offsets, Tensor& dw,
                    GroupedChoice choice) {
  const int n = rows_of(x), groups = int(offsets.numel() - 1);
  check_offsets(offsets, n);
  GroupedProduct p = {};
  p.a = checked("dy", dy), p.b = checked("x", x), p.c = dw.raw();
  p.groups = groups, p.m = int(dy.dim(-1)), p.n = int(x.dim(-1)), p.k = n;
  check(rows_of(dy) == n && dw.numel() == int64_t(groups) * p.m * p.n && dw.dim(-1) == p.n,
        concat("grouped product: dy ", to_string(dy.shape()), ", x ", to_string(x.shape()),
               " and dw ", to_string(dw.shape()), " do not fit"));
  if (dw.numel() == 0) return;
  const Tensor there = on_device(offsets);
  p.offsets = there.data<int64_t>();
  const bool f32 = dw.dtype() == DType::F32;
  check(f32 || dw.dtype() == DType::BF16, "grouped product: dw is neither f32 nor bf16");
  if (choice.kind == GroupedKind::Wgmma && n > 0) return grouped_wgmma_dw(p, f32);
  (f32 ? launch_product<true, false, 128, float> : launch_product<true, false, 128, BFloat16>)(p);
}

}  // namespace switchyard::cuda
