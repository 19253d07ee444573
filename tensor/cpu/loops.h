// What the CPU kernels share: loops over elements and rows on all threads, sums of rows in a fixed order,
// random draws.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>

#include "tensor/arguments.h"
#include "tensor/draws.h"
#include "tensor/kernels.h"
#include "tensor/parallel.h"
#include "tensor/rows.h"

namespace switchyard::cpu {

inline constexpr int64_t kGrain = 1 << 14;  // elements below which a second thread does not pay

// --- loops ------------------------------------------------------------------------------------------
// On the functions of an element: a call inside of a loop would keep it from being vectorised.
#define INLINE __attribute__((always_inline))

// f(i) for i in [begin, end). Iterations are independent, even when an output is also an input: GCC
// may vectorise without looking for overlap. The local copy keeps f's constants in registers.
template <class F>
inline void vector_loop(int64_t begin, int64_t end, const F& f) {
  const F g = f;
#pragma GCC ivdep
  for (int64_t i = begin; i < end; ++i) g(i);
}
// f(p[i]...) for n elements on all threads
template <class F, class... P>
void element_loop(int64_t n, const F& f, P*... p) {
  const auto at = [=](int64_t i) INLINE { ops::on_elements(f, p[i]...); };
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) { vector_loop(begin, end, at); });
}
// f(i) for every row on all threads
template <class F>
void row_loop(int64_t rows, int64_t columns, const F& f) {
  const int64_t grain = std::max<int64_t>(kGrain / std::max<int64_t>(columns, 1), 1);
  parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(i);
  });
}
// f(begin, end) on ranges of columns: for sums over rows, which each thread walks in order
template <class F>
void column_ranges(int64_t rows, int64_t columns, const F& f) {
  parallel_for(columns, std::max<int64_t>(kGrain / std::max<int64_t>(rows, 1), 64), f);
}

// --- kernels as functions of elements and rows --------------------------------------------------------
// f(elements...), by reference, of tensors of one size
template <class F, class X, class... Y>
void each_element(const char* kernel, const F& f, X& x, Y&... y) {
  check_numel(kernel, x.numel(), y...);
  with_element(kernel, x.dtype(),
               [&]<class T>(T) { element_loop(x.numel(), f, pointer<T>(x), pointer<T>(y)...); });
}
// Integer arguments are where the kernels are (cuda/context.h).
inline const Tensor& on_device(const Tensor& t) { return t; }

// --- sums of rows -------------------------------------------------------------------------------------
// Term j goes to lane j % 16, and the lanes are added in a fixed tree. The order is part of the source,
// so it is the same on every instruction set, and each lane is a vector element.
inline constexpr int kLanes = 16;
template <class F>
inline auto row_sum(int64_t n, const F& f) {
  using T = decltype(f(0));
  constexpr int64_t kBlock = 256;
  const F g = f;
  alignas(64) T lane[kLanes] = {}, term[kBlock];
  for (int64_t j0 = 0; j0 < n; j0 += kBlock) {
    const int64_t m = std::min(kBlock, n - j0), whole = m / kLanes * kLanes;
#pragma GCC ivdep
    for (int64_t j = 0; j < m; ++j) term[j] = g(j0 + j);
    for (int64_t j = 0; j < whole; j += kLanes)
      for (int l = 0; l < kLanes; ++l) lane[l] += term[j + l];
    for (int64_t j = whole; j < m; ++j) lane[j - whole] += term[j];
  }
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int l = 0; l < width; ++l) lane[l] += lane[l + width];
  return lane[0];
}
template <class X>
inline Compute<X> row_max(const X* x, int64_t n) {  // -inf for an empty row
  using T = Compute<X>;
  alignas(64) T lane[kLanes];
  std::fill(lane, lane + kLanes, -std::numeric_limits<T>::infinity());
  const int64_t whole = n / kLanes * kLanes;
  for (int64_t j = 0; j < whole; j += kLanes)
    for (int l = 0; l < kLanes; ++l) lane[l] = T(x[j + l]) > lane[l] ? T(x[j + l]) : lane[l];
  for (int64_t j = whole; j < n; ++j) lane[j - whole] = std::max(lane[j - whole], T(x[j]));
  return *std::max_element(lane, lane + kLanes);
}

// --- rows -------------------------------------------------------------------------------------------------
struct Row {  // of rows.h: the work of one thread
  template <class Y, class F, class... X>
  HD void map(int64_t n, Y* y, const F& f, const X*... x) const {
    vector_loop(0, n, [=](int64_t j) INLINE {
      y[j] = static_cast<Y>(f(static_cast<Compute<X>>(x[j])...));
    });
  }
  template <class F, class... X>
  HD auto sum(int64_t n, const F& f, const X*... x) const {
    return row_sum(n, [=](int64_t j) INLINE { return f(static_cast<Compute<X>>(x[j])...); });
  }
  template <class X>
  HD Compute<X> max(int64_t n, const X* x) const {
    return row_max(x, n);
  }
  template <class X>
  HD int64_t find(int64_t n, const X* x, Compute<X> value) const {
    return std::find(x, x + n, value) - x;
  }
  static constexpr bool owns(int64_t, int64_t) { return true; }
  static constexpr bool first() { return true; }
};
// f(row, i, columns, pointers...) for the rows i of the first tensor
template <class F, class X, class... Y>
void each_row(const char* kernel, const F& f, X&& x, Y&&... y) {
  const Tensor& first = argument(x).tensor;
  const int64_t n = rows_of(first), c = columns_of(first);
  with_element(kernel, first.dtype(), [&]<class T>(T) {
    [&](auto... p) {
      row_loop(n, c, [=](int64_t i) { f(Row(), i, c, (p.start + i * p.step)...); });
    }(row_pointer<T>(kernel, argument(x), n, c), row_pointer<T>(kernel, argument(y), n, c)...);
  });
}
template <class T>
inline void softmax_row(const T* x, T* y, int64_t n) {
  rows::softmax(Row(), n, x, y);
}
template <class Y, class T>
inline void softmax_row_backward(const Y* y, const T* dy, T* dx, int64_t n) {
  rows::softmax_backward(Row(), n, y, dy, dx);
}

// --- random draws ---------------------------------------------------------------------------------------
// f(i, random_bits(r, first + i)) for i in [begin, end): Philox, eight blocks side by side
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

// For draw_loop: f(bits, elements...)
template <class F, class... P>
auto drawn(const F& f, P*... p) {
  return [=](int64_t i, uint32_t bits)
             INLINE { ops::on_elements([&](auto&... x) INLINE { f(bits, x...); }, p[i]...); };
}
template <class T>
auto drop(const T* x, T* y, double p) {
  return drawn(draws::Dropout(p), x, y);
}

}  // namespace switchyard::cpu
