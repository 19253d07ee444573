// What the CPU kernels share: loops over elements and rows on all threads, sums of rows in a fixed order,
// softmax of a row, random draws.
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <tuple>
#include <utility>

#include "tensor/kernels.h"
#include "tensor/parallel.h"

namespace switchyard::cpu {

inline constexpr int64_t kGrain = 1 << 14;  // elements below which a second thread does not pay

// The last dimension is the row; all others together count rows.
inline int64_t columns_of(const Tensor& x) { return x.rank() ? x.dim(-1) : 1; }
inline int64_t rows_of(const Tensor& x) {
  int64_t n = 1;
  for (int i = 0; i + 1 < x.rank(); ++i) n *= x.dim(i);
  return n;
}

// Small kernels run often: the message is put together when needed.
template <class... Tensors>
void check_numel(const char* kernel, int64_t n, const Tensors&... tensors) {
  for (const Tensor* x : {&tensors...})
    if (x->numel() != n)
      throw Error(concat(kernel, ": expected ", n, " elements, got ", to_string(x->shape())));
}

// --- loops ------------------------------------------------------------------------------------------
// f(i) for i in [begin, end). Iterations are independent, even when an output is also an input: GCC
// may vectorise without looking for overlap. The local copy keeps f's constants in registers.
template <class F>
inline void vector_loop(int64_t begin, int64_t end, const F& f) {
  const F g = f;
#pragma GCC ivdep
  for (int64_t i = begin; i < end; ++i) g(i);
}
// f(i) for n elements on all threads
template <class F>
void element_loop(int64_t n, const F& f) {
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) { vector_loop(begin, end, f); });
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
// Tensor arguments, all f32 or all f64. each_row passes row i of a plain tensor, element i of one(x), and
// the start of whole(x), which may have any size. An output may be one of the inputs.
struct Argument {
  Argument(const Tensor& x, int64_t elements_per_row = -1) : tensor(x), step(elements_per_row) {}
  const Tensor& tensor;
  int64_t step;  // elements from row to row; -1: a row's length
};
inline Argument one(const Tensor& x) { return {x, 1}; }
inline Argument whole(const Tensor& x) { return {x, 0}; }

// f(pointers...) to the arguments' first elements
template <size_t N, class F>
void with_pointers(const char* kernel, const Argument (&x)[N], const F& f) {
  with_float(kernel, x[0].tensor.dtype(), [&](auto type) {
    [&]<size_t... K>(std::index_sequence<K...>) {
      f(x[K].tensor.template data<decltype(type)>()...);
    }
    (std::make_index_sequence<N>());
  });
}
// f(elements...), by reference, of tensors of one size
template <size_t N, class F>
void each_element(const char* kernel, const Argument (&x)[N], const F& f) {
  const int64_t n = x[0].tensor.numel();
  for (const Argument& a : x) check_numel(kernel, n, a.tensor);
  with_pointers(kernel, x, [&](auto*... p) { element_loop(n, [=](int64_t i) { f(p[i]...); }); });
}
// f(i, columns, pointers...) for the rows i of x[0]
template <size_t N, class F>
void each_row(const char* kernel, const Argument (&x)[N], const F& f) {
  const int64_t n = rows_of(x[0].tensor), c = columns_of(x[0].tensor);
  std::array<int64_t, N> step;
  for (size_t k = 0; k < N; ++k) {
    step[k] = x[k].step < 0 ? c : x[k].step;
    if (step[k]) check_numel(kernel, n * step[k], x[k].tensor);
  }
  with_pointers(kernel, x, [&](auto*... p) {
    row_loop(n, c, [=](int64_t i) {
      size_t k = 0;
      const std::array rows = {(p + i * step[k++])...};
      std::apply([&](auto*... row) { f(i, c, row...); }, rows);
    });
  });
}

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
template <class T>
inline T row_max(const T* x, int64_t n) {  // -inf for an empty row
  alignas(64) T lane[kLanes];
  std::fill(lane, lane + kLanes, -std::numeric_limits<T>::infinity());
  const int64_t whole = n / kLanes * kLanes;
  for (int64_t j = 0; j < whole; j += kLanes)
    for (int l = 0; l < kLanes; ++l) lane[l] = x[j + l] > lane[l] ? x[j + l] : lane[l];
  for (int64_t j = whole; j < n; ++j) lane[j - whole] = std::max(lane[j - whole], x[j]);
  return *std::max_element(lane, lane + kLanes);
}

// --- softmax of a row -----------------------------------------------------------------------------------
// y = softmax(x), y may be x; a row of -inf gives zeros
template <class T>
inline void softmax_row(const T* x, T* y, int64_t n) {
  const T top = row_max(x, n);
  if (top == -std::numeric_limits<T>::infinity()) return void(std::fill(y, y + n, T(0)));
  vector_loop(0, n, [=](int64_t j) { y[j] = vmath::exp(x[j] - top); });
  const T inverse = T(1) / row_sum(n, [=](int64_t j) { return y[j]; });
  vector_loop(0, n, [=](int64_t j) { y[j] *= inverse; });
}
// dx = y * (dy - sum(dy * y)), dx may be dy
template <class T>
inline void softmax_row_backward(const T* y, const T* dy, T* dx, int64_t n) {
  const T dot = row_sum(n, [=](int64_t j) { return dy[j] * y[j]; });
  vector_loop(0, n, [=](int64_t j) { dx[j] = y[j] * (dy[j] - dot); });
}
// log sum_j e^x_j
template <class T>
inline T log_sum_exp(const T* x, int64_t n) {
  const T top = row_max(x, n);
  return top + vmath::log(row_sum(n, [=](int64_t j) { return vmath::exp(x[j] - top); }));
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

// For draw_loop: y = x * [u >= p] / (1 - p)
template <class T>
auto drop(const T* x, T* y, double p) {
  return [=, limit = float(p), factor = T(1 / (1 - p))](int64_t i, uint32_t bits) {
    y[i] = x[i] * (unit_float(bits) >= limit ? factor : T(0));
  };
}

}  // namespace switchyard::cpu
