// Philox draws for consecutive elements, eight blocks side by side.
#pragma once
#include "tensor/cpu/loops.h"

namespace switchyard::cpu {

// f(i, random_bits(r, first + i)) for i in [begin, end)
template <class F>
inline void draw_loop(RandomStream r, uint64_t first, int64_t begin, int64_t end, const F& f) {
  constexpr int64_t kBits = 512, kWide = 8;
  alignas(64) uint32_t bits[kBits];
  for (int64_t i = begin; i < end;) {
    const uint64_t element = first + uint64_t(i);
    const int64_t skip = int64_t(element & 3), m = std::min(kBits - skip, end - i);
    for (int64_t j = 0; j < skip + m; j += 4 * kWide)
      philox<kWide>(r, (element >> 2) + uint64_t(j / 4), bits + j);
    vector_loop(0, m, [=, own = bits + skip](int64_t j) { f(i + j, own[j]); });
    i += m;
  }
}

// Elements i of y [n, c] with the draws of elements first + i; or, given row_ids [n], every row with the
// draws of row row_ids[i] of the whole.
template <class F>
void draw_rows(RandomStream r, uint64_t first, const Tensor& row_ids, const Tensor& y, const F& f) {
  const int64_t n = rows_of(y), c = columns_of(y);
  if (!row_ids.defined())
    return parallel_for(n * c, kGrain,
                        [&](int64_t begin, int64_t end) { draw_loop(r, first, begin, end, f); });
  check_numel("random draws: row_ids", n, row_ids);
  row_loop(n, c, [&, id = row_ids.data<int64_t>()](int64_t i) {
    draw_loop(r, uint64_t((id[i] - i) * c), i * c, (i + 1) * c, f);
  });
}

// For the loops above: y = x * [u >= p] / (1 - p)
template <class T>
auto drop(const T* x, T* y, double p) {
  return [=, limit = float(p), factor = T(1 / (1 - p))](int64_t i, uint32_t bits) {
    y[i] = x[i] * (unit_float(bits) >= limit ? factor : T(0));
  };
}

}  // namespace switchyard::cpu
