// The index arithmetic of the grouped products: integers in, integers out, so that tests replay a launch on the
// host. Each product is c = a b with a [M, K], b [K, N], c [M, N]; tiles of c are 64 or 128 rows high.
// An operand is K-major when its inner index K is contiguous in memory, else MN-major.
// Sources: PTX ISA, sections on ldmatrix, mma.m16n8k16 and wgmma.
// Read before: grouped_gemm.h. Read next: grouped_mma.cu.
#pragma once
#include <cstdint>

#include "tensor/vmath.h"

namespace switchyard::cuda::tiles {

inline constexpr int kStep = 64;  // inner length of a stage: 128 bytes
inline constexpr int kChunk =
    8;  // elements of 16 bytes: what one cp.async or one ldmatrix lane takes
inline constexpr int kBand = 16;  // row tiles that are walked together

HD int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
HD int clamp(int64_t x, int most) { return int(x < 0 ? 0 : x < most ? x : most); }

// --- which tile -----------------------------------------------------------------------------------------------
struct Tile {
  int group;
  int64_t row, column;  // of its first element, in the group's part of c
};

// The last g with first[g] <= row_tile, where first[g] counts the row tiles of the groups before g: groups
// without rows are passed over.
HD int group_of(const int64_t* first, int groups, int64_t row_tile) {
  int low = 0, high = groups;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (first[middle] <= row_tile ? low : high) = middle;
  }
  return low;
}

// Tile t of a group, in bands of kBand row tiles, in a band column by column: blocks that run at the same time
// share rows of a and columns of b in the L2.
HD Tile tile_in_group(int group, int64_t t, int64_t row_tiles, int64_t column_tiles, int tile_m,
                      int tile_n) {
  const int64_t band = t / (kBand * column_tiles), in_band = t - band * kBand * column_tiles;
  const int64_t left = row_tiles - band * kBand, height = left < kBand ? left : kBand;
  return {group, (band * kBand + in_band % height) * tile_m, in_band / height * tile_n};
}

// Groups with different numbers of rows
HD Tile ragged_tile(const int64_t* first, int groups, int64_t t, int64_t column_tiles, int tile_m,
                    int tile_n) {
  const int g = group_of(first, groups, t / column_tiles);
  return tile_in_group(g, t - first[g] * column_tiles, first[g + 1] - first[g], column_tiles,
                       tile_m, tile_n);
}

// Groups with equal outputs
HD Tile equal_tile(int64_t t, int64_t row_tiles, int64_t column_tiles, int tile_m, int tile_n) {
  const int64_t each = row_tiles * column_tiles;
  return tile_in_group(int(t / each), t % each, row_tiles, column_tiles, tile_m, tile_n);
}

// --- a stage in shared memory: lines of chunks -----------------------------------------------------------------
// K-major: a line for each row (column of b), 8 chunks along K. MN-major: a line for each k, extent/8 chunks.
// The chunk's place is XORed with the line, so that the 8 lines of an 8x8 matrix lie in different banks.
HD constexpr int chunks_in_line(bool k_major, int extent) {
  return (k_major ? kStep : extent) / kChunk;
}
HD int chunk_offset(int chunks, int line, int chunk) {
  return (line * chunks + (chunk ^ line % 8)) * 16;
}  // bytes

// Where lane's row of 16 bytes lies for ldmatrix.x4 (.trans for MN-major), which fetches a's 16x16 at (m, k) ...
HD int a_offset(bool k_major, int extent, int lane, int m, int k) {
  const int chunks = chunks_in_line(k_major, extent);
  return k_major ? chunk_offset(chunks, m + lane % 16, k / 8 + lane / 16)
                 : chunk_offset(chunks, k + lane % 8 + lane / 16 * 8, m / 8 + lane / 8 % 2);
}
// ... and b's 16x16 at (k, n): registers 0 and 1 are the operand for columns n..n+7, 2 and 3 for n+8..n+15.
HD int b_offset(bool k_major, int extent, int lane, int k, int n) {
  const int chunks = chunks_in_line(k_major, extent);
  return k_major ? chunk_offset(chunks, n + lane % 8 + lane / 16 * 8, k / 8 + lane / 8 % 2)
                 : chunk_offset(chunks, k + lane % 16, n / 8 + lane / 16);
}

// --- accumulators of mma and wgmma -----------------------------------------------------------------------------
// Value i of a lane in 16 rows x 8n columns: blocks of 8 columns, in each two neighbours of row g and of row g + 8.
HD constexpr int c_row(int lane, int i) { return lane / 4 + i / 2 % 2 * 8; }
HD constexpr int c_column(int lane, int i) { return i / 4 * 8 + lane % 4 * 2 + i % 2; }

// --- wgmma: shared memory as TMA writes it with the 128-byte swizzle ------------------------------------------
// Boxes of lines of 128 bytes at addresses that are multiples of 1024.
HD int box_offset(int line, int byte) { return line * 128 + (byte ^ line % 8 * 16); }

// Matrix descriptor: address, leading and stride offset in units of 16 bytes, swizzle mode 1 = 128 bytes.
HD uint64_t descriptor(uint32_t address, uint32_t leading, uint32_t stride) {
  return uint64_t((address & 0x3FFFF) >> 4) | uint64_t(leading >> 4) << 16 |
         uint64_t(stride >> 4) << 32 | 1ull << 62;
}
// K-major: one box with a line for each row; 8 lines are 1024 bytes. MN-major: boxes of 64 columns, one after the
// other, with a line for each k.
HD uint64_t operand_descriptor(bool k_major, uint32_t address) {
  return descriptor(address, k_major ? 16 : kStep * 128, 1024);
}
// From one k16 to the next: 32 bytes along the lines, or 16 lines
HD constexpr uint32_t k16_bytes(bool k_major) { return k_major ? 32 : 16 * 128; }

}  // namespace switchyard::cuda::tiles
