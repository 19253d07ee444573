// The index arithmetic of the grouped products: every output is written once, swizzles keep all chunks apart,
// and the fragments that ldmatrix and wgmma read are those of the PTX ISA's tables.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "tensor/cuda/grouped_tiles.h"

namespace switchyard::cuda::tiles {
namespace {

std::vector<int64_t> row_tiles_before(const std::vector<int64_t>& rows, int tile_m) {
  std::vector<int64_t> first = {0};
  for (int64_t r : rows) first.push_back(first.back() + ceil_div(r, tile_m));
  return first;
}

TEST(GroupedTiles, RaggedLaunchWritesEveryElementOnce) {
  const std::vector<std::vector<int64_t>> cases = {
      {1}, {0, 0, 5, 0}, {130, 0, 64, 1, 128}, {0, 2500, 3, 1100}, std::vector<int64_t>(64, 1)};
  for (const auto& rows : cases)
    for (int tile_m : {64, 128})
      for (int64_t m : {8, 128, 264}) {
        const auto first = row_tiles_before(rows, tile_m);
        const int groups = int(rows.size());
        const int64_t column_tiles = ceil_div(m, 128), count = first.back() * column_tiles,
                      grid = 7;
        std::vector<std::vector<int>> written;
        for (int64_t r : rows) written.emplace_back(r * m, 0);
        for (int64_t block = 0; block < grid; ++block)
          for (int64_t t = block; t < count; t += grid) {
            const Tile at = ragged_tile(first.data(), groups, t, column_tiles, tile_m, 128);
            ASSERT_TRUE(at.group >= 0 && at.group < groups);
            const int height = clamp(rows[at.group] - at.row, tile_m),
                      width = clamp(m - at.column, 128);
            ASSERT_GT(height, 0);
            ASSERT_GT(width, 0);
            for (int i = 0; i < height; ++i)
              for (int j = 0; j < width; ++j) ++written[at.group][(at.row + i) * m + at.column + j];
          }
        for (const auto& group : written)
          ASSERT_TRUE(std::all_of(group.begin(), group.end(), [](int w) { return w == 1; }));
      }
}

TEST(GroupedTiles, EqualGroupsWriteEveryElementOnce) {
  const int groups = 3;
  for (int64_t m : {8, 136, 128 * 20 + 8})
    for (int64_t n : {8, 300}) {
      const int64_t row_tiles = ceil_div(m, 128), column_tiles = ceil_div(n, 128);
      std::vector<int> written(groups * m * n, 0);
      for (int64_t t = 0; t < groups * row_tiles * column_tiles; ++t) {
        const Tile at = equal_tile(t, row_tiles, column_tiles, 128, 128);
        for (int i = 0; i < clamp(m - at.row, 128); ++i)
          for (int j = 0; j < clamp(n - at.column, 128); ++j)
            ++written[(at.group * m + at.row + i) * n + at.column + j];
      }
      EXPECT_TRUE(std::all_of(written.begin(), written.end(), [](int w) { return w == 1; }));
    }
}

// 3 million rows x 4096 columns: offsets pass 2^31.
TEST(GroupedTiles, LargeOutputs) {
  const std::vector<int64_t> rows = {1000001, 0, 1999998, 1};
  const auto first = row_tiles_before(rows, 128);
  const int64_t m = 4096, column_tiles = ceil_div(m, 128), count = first.back() * column_tiles;
  std::vector<bool> seen(count);
  int64_t area = 0;
  for (int64_t t = 0; t < count; ++t) {
    const Tile at = ragged_tile(first.data(), int(rows.size()), t, column_tiles, 128, 128);
    const int64_t place = (first[at.group] + at.row / 128) * column_tiles + at.column / 128;
    ASSERT_TRUE(place >= 0 && place < count && !seen[place]);
    seen[place] = true;
    area += int64_t(clamp(rows[at.group] - at.row, 128)) * clamp(m - at.column, 128);
  }
  EXPECT_EQ(area, 3000000 * m);
}

// Where element (mn, k) of an operand lies in its stage
int element_offset(bool k_major, int extent, int mn, int k) {
  const int chunks = chunks_in_line(k_major, extent), line = k_major ? mn : k,
            along = k_major ? k : mn;
  return chunk_offset(chunks, line, along / kChunk) + along % kChunk * 2;
}

TEST(GroupedTiles, StagesHoldEveryElementOnce) {
  for (bool k_major : {true, false})
    for (int extent : {64, 128}) {
      std::set<int> places;
      for (int mn = 0; mn < extent; ++mn)
        for (int k = 0; k < kStep; ++k) places.insert(element_offset(k_major, extent, mn, k));
      EXPECT_EQ(int(places.size()), extent * kStep);
      EXPECT_EQ(*places.begin(), 0);
      EXPECT_EQ(*places.rbegin(), extent * kStep * 2 - 2);
    }
}

// Byte offset of half `i` of register `r` that ldmatrix gives to `lane`, for the addresses of 32 lanes
template <class Offset>
int ldmatrix_offset(const Offset& of_lane, bool transposed, int lane, int r, int i) {
  const int major = lane / 4, minor = lane % 4 * 2 + i;
  return of_lane(8 * r + (transposed ? minor : major)) + 2 * (transposed ? major : minor);
}

TEST(GroupedTiles, FragmentsAreThoseOfTheInstruction) {
  for (bool k_major : {true, false})
    for (int extent : {64, 128})
      for (int mn = 0; mn < extent; mn += 16)
        for (int k = 0; k < kStep; k += 16)
          for (int lane = 0; lane < 32; ++lane)
            for (int r = 0; r < 4; ++r)
              for (int i = 0; i < 2; ++i) {
                const int group = lane / 4, pair = lane % 4 * 2 + i;
                // a: registers 0, 1 have k < 8, 2, 3 the rest; 0, 2 row groupID, 1, 3 groupID + 8
                EXPECT_EQ(
                    ldmatrix_offset([&](int l) { return a_offset(k_major, extent, l, mn, k); },
                                    !k_major, lane, r, i),
                    element_offset(k_major, extent, mn + group + r % 2 * 8, k + pair + r / 2 * 8));
                // b: registers 0, 1 column groupID with k < 8 and the rest; 2, 3 the same of column groupID + 8
                EXPECT_EQ(
                    ldmatrix_offset([&](int l) { return b_offset(k_major, extent, l, k, mn); },
                                    !k_major, lane, r, i),
                    element_offset(k_major, extent, mn + group + r / 2 * 8, k + pair + r % 2 * 8));
              }
}

TEST(GroupedTiles, LdmatrixHasNoBankConflicts) {
  for (bool k_major : {true, false})
    for (int extent : {64, 128})
      for (int mn = 0; mn < extent; mn += 16)
        for (int k = 0; k < kStep; k += 16)
          for (int matrix = 0; matrix < 4; ++matrix) {
            std::set<int> a, b;
            for (int l = 8 * matrix; l < 8 * matrix + 8; ++l) {
              a.insert(a_offset(k_major, extent, l, mn, k) % 128);
              b.insert(b_offset(k_major, extent, l, k, mn) % 128);
            }
            EXPECT_EQ(a.size(), 8u);
            EXPECT_EQ(b.size(), 8u);
          }
}

TEST(GroupedTiles, AccumulatorsCoverTheBlock) {
  std::set<std::pair<int, int>> cells;
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 128; ++i) cells.insert({c_row(lane, i), c_column(lane, i)});
  EXPECT_EQ(cells.size(), 16u * 256u);
  EXPECT_EQ(c_row(5, 2), 9);  // groupID 1, second half
  EXPECT_EQ(c_column(5, 7), 8 + 2 + 1);
}

// The address of element (mn, k) of a wgmma operand, from its descriptor: rows of 128 bytes, 8 of them in a group;
// address bits 4-6 are XORed with bits 7-9.
uint32_t wgmma_address(uint64_t d, bool k_major, int mn, int k) {
  const uint32_t start = uint32_t(d & 0x3FFF) * 16, leading = uint32_t(d >> 16 & 0x3FFF) * 16;
  const uint32_t stride = uint32_t(d >> 32 & 0x3FFF) * 16;
  const uint32_t plain =
      k_major ? start + mn / 8 * stride + mn % 8 * 128 + k * 2
              : start + mn / 64 * leading + k / 8 * stride + k % 8 * 128 + mn % 64 * 2;
  return plain ^ (plain >> 7 & 7) << 4;
}

TEST(GroupedTiles, WgmmaReadsWhatTmaWrote) {
  const uint32_t base = 48 * 1024;
  for (bool k_major : {true, false})
    for (int step = 0; step < kStep / 16; ++step) {
      const uint64_t d = operand_descriptor(k_major, base) + step * k16_bytes(k_major) / 16;
      EXPECT_EQ(d >> 62, 1u);
      for (int mn = 0; mn < 256; ++mn)
        for (int k = 0; k < 16; ++k) {
          const int inner = 16 * step + k;
          const uint32_t written = k_major ? box_offset(mn, inner * 2)
                                           : mn / 64 * kStep * 128 + box_offset(inner, mn % 64 * 2);
          EXPECT_EQ(wgmma_address(d, k_major, mn, k), base + written);
        }
    }
}

}  // namespace
}  // namespace switchyard::cuda::tiles
