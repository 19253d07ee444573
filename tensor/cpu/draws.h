// Philox draws for consecutive elements, eight blocks side by side.
#pragma once
#include <algorithm>

#include "tensor/cpu/loops.h"

namespace switchyard::cpu {

inline constexpr int kWide = 8;  // blocks at once

// f(i, random_bits(r, first + i)) for i in [begin, end)
template <class F>
inline void draw_loop(RandomStream r, uint64_t first, int64_t begin, int64_t end, const F& f) {
  constexpr int64_t kBlock = 512;
  alignas(64) uint32_t bits[kBlock];
  for (int64_t i = begin; i < end;) {
    const uint64_t element = first + uint64_t(i);
    const int64_t skip = int64_t(element & 3), m = std::min(kBlock - skip, end - i);
    for (int64_t j = 0; j < skip + m; j += 4 * kWide)
      philox<kWide>(r, (element >> 2) + uint64_t(j / 4), bits + j);
    const uint32_t* own = bits + skip;
    vector_loop(0, m, [=](int64_t j) { f(i + j, own[j]); });
    i += m;
  }
}

template <class F>
void draw_all(RandomStream r, uint64_t first, int64_t n, const F& f) {
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) { draw_loop(r, first, begin, end, f); });
}

// Elements of y [n, c] with the draw of element row_ids[i] * c + j (row_ids undefined: row i).
template <class F>
void draw_rows(RandomStream r, const Tensor& row_ids, const Tensor& y, const F& f) {
  const int64_t n = rows_of(y), c = columns_of(y);
  if (!row_ids.defined()) return draw_all(r, 0, n * c, f);
  check_numel("random draws: row_ids", n, row_ids);
  const int64_t* id = row_ids.data<int64_t>();
  each_row(n, c,
           [&](int64_t i) { draw_loop(r, uint64_t((id[i] - i) * c), i * c, (i + 1) * c, f); });
}

// For the loops above: y = x * [u >= p] / (1 - p)
template <class T>
auto drop(const T* x, T* y, double p) {
  return [=, limit = float(p), factor = T(1 / (1 - p))](int64_t i, uint32_t bits) {
    y[i] = x[i] * (unit_float(bits) >= limit ? factor : T(0));
  };
}

}  // namespace switchyard::cpu
