// Philox draws for consecutive elements, eight blocks side by side.
#pragma once
#include <algorithm>

#include "tensor/cpu/loops.h"

namespace switchyard::cpu {

inline constexpr int kWide = 8;  // blocks at once

// out[4 b + lane] = the draws of blocks first .. first+7; equals rng.h's philox() block by block
inline void philox_wide(RandomStream r, uint64_t first, uint32_t* out) {
  alignas(32) uint32_t c0[kWide], c1[kWide], c2[kWide], c3[kWide];
  for (int b = 0; b < kWide; ++b) {
    c0[b] = uint32_t(first + b), c1[b] = uint32_t((first + b) >> 32);
    c2[b] = uint32_t(r.stream), c3[b] = uint32_t(r.stream >> 32);
  }
  uint32_t k0 = uint32_t(r.key), k1 = uint32_t(r.key >> 32);
  for (int round = 0; round < 10; ++round) {
#pragma GCC ivdep
    for (int b = 0; b < kWide; ++b) {
      const uint64_t p0 = uint64_t(0xD2511F53u) * c0[b], p1 = uint64_t(0xCD9E8D57u) * c2[b];
      c0[b] = uint32_t(p1 >> 32) ^ c1[b] ^ k0, c1[b] = uint32_t(p1);
      c2[b] = uint32_t(p0 >> 32) ^ c3[b] ^ k1, c3[b] = uint32_t(p0);
    }
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  for (int b = 0; b < kWide; ++b)
    out[4 * b] = c0[b], out[4 * b + 1] = c1[b], out[4 * b + 2] = c2[b], out[4 * b + 3] = c3[b];
}

// f(i, random_bits(r, first + i)) for i in [begin, end)
template <class F>
inline void draw_loop(RandomStream r, uint64_t first, int64_t begin, int64_t end, const F& f) {
  constexpr int64_t kBlock = 512;
  alignas(64) uint32_t bits[kBlock];
  for (int64_t i = begin; i < end;) {
    const uint64_t element = first + uint64_t(i);
    const int64_t skip = int64_t(element & 3), m = std::min(kBlock - skip, end - i);
    for (int64_t j = 0; j < skip + m; j += 4 * kWide)
      philox_wide(r, (element >> 2) + uint64_t(j / 4), bits + j);
    const uint32_t* own = bits + skip;
    vector_loop(0, m, [=](int64_t j) { f(i + j, own[j]); });
    i += m;
  }
}

// Elements of y [n, c] with the draw of element row_ids[i] * c + j (row_ids undefined: row i).
template <class F>
void draw_rows(RandomStream r, const Tensor& row_ids, const Tensor& y, const F& f) {
  const int64_t n = rows_of(y), c = columns_of(y);
  if (!row_ids.defined()) {
    parallel_for(n * c, kGrain,
                 [&](int64_t begin, int64_t end) { draw_loop(r, 0, begin, end, f); });
    return;
  }
  check_numel(row_ids, n, "random draws: row_ids");
  const int64_t* id = row_ids.data<int64_t>();
  each_row(n, c,
           [&](int64_t i) { draw_loop(r, uint64_t((id[i] - i) * c), i * c, (i + 1) * c, f); });
}

}  // namespace switchyard::cpu
