// What the CPU kernels share: parallel elementwise loops, row sums in a fixed order, rows and columns.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>

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

// Every tensor must hold n elements. Small kernels run often: the message is put together when needed.
template <class... Tensors>
void check_numel(const char* kernel, int64_t n, const Tensors&... tensors) {
  for (const Tensor* x : {&tensors...})
    if (x->numel() != n)
      throw Error(concat(kernel, ": expected ", n, " elements, got ", to_string(x->shape())));
}

// f(i) for i in [begin, end). Iterations are independent, even when an output is also an input: GCC
// may vectorise without looking for overlap. The local copy keeps f's constants in registers.
template <class F>
inline void vector_loop(int64_t begin, int64_t end, const F& f) {
  const F g = f;
#pragma GCC ivdep
  for (int64_t i = begin; i < end; ++i) g(i);
}
template <class F>
void each_element(int64_t n, const F& f) {
  parallel_for(n, kGrain, [&](int64_t begin, int64_t end) { vector_loop(begin, end, f); });
}
// y[i] = f(x[i]...), in f32 or f64; y may be one of x
template <class F, class... Tensors>
void map_elements(const char* kernel, Tensor& y, const F& f, const Tensors&... x) {
  check_numel(kernel, y.numel(), x...);
  FLOAT_DISPATCH(y.dtype(), T, {
    const auto apply = [f, py = y.data<T>()](const auto*... px) {
      return [f, py, px...](int64_t i) { py[i] = f(px[i]...); };
    };
    each_element(y.numel(), apply(x.template data<T>()...));
  });
}
// f(i) for every row, rows dealt to threads
template <class F>
void each_row(int64_t rows, int64_t columns, const F& f) {
  const int64_t grain = std::max<int64_t>(kGrain / std::max<int64_t>(columns, 1), 1);
  parallel_for(rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) f(i);
  });
}
// f(begin, end) on ranges of columns: for sums over rows, which each thread walks in order
template <class F>
void column_ranges(int64_t rows, int64_t columns, const F& f) {
  const int64_t grain = std::max<int64_t>(kGrain / std::max<int64_t>(rows, 1), 64);
  parallel_for(columns, grain, f);
}

// sums[target(i)] += x[i], rows i of x [n, c] ascending; a negative target: no row
template <class T, class F>
void add_rows(const T* x, int64_t n, int64_t c, T* sums, const F& target) {
  column_ranges(n, c, [=](int64_t begin, int64_t end) {
    for (int64_t i = 0; i < n; ++i) {
      if (target(i) < 0) continue;
      const T* row = x + i * c;
      T* sum = sums + target(i) * c;
      vector_loop(begin, end, [=](int64_t j) { sum[j] += row[j]; });
    }
  });
}

// Row sums: term j goes to lane j % 16, and the lanes are added in a fixed tree. The order is part of
// the source, so it is the same on every instruction set, and each lane is a vector element.
inline constexpr int kLanes = 16;
template <class T>
inline T lane_tree(T* lane) {
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int l = 0; l < width; ++l) lane[l] += lane[l + width];
  return lane[0];
}
template <class T, class F>
inline T row_sum(int64_t n, const F& f) {
  constexpr int64_t kBlock = 256;
  const F g = f;
  alignas(64) T lane[kLanes] = {};
  alignas(64) T term[kBlock];
  for (int64_t j0 = 0; j0 < n; j0 += kBlock) {
    const int64_t m = std::min(kBlock, n - j0), whole = m / kLanes * kLanes;
#pragma GCC ivdep
    for (int64_t j = 0; j < m; ++j) term[j] = g(j0 + j);
    for (int64_t j = 0; j < whole; j += kLanes)
      for (int l = 0; l < kLanes; ++l) lane[l] += term[j + l];
    for (int64_t j = whole; j < m; ++j) lane[j - whole] += term[j];
  }
  return lane_tree(lane);
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

// y = softmax(x), y may be x; a row of -inf gives zeros
template <class T>
inline void softmax_row(const T* x, T* y, int64_t n) {
  const T top = row_max(x, n);
  if (top == -std::numeric_limits<T>::infinity()) return void(std::fill(y, y + n, T(0)));
  vector_loop(0, n, [=](int64_t j) { y[j] = vmath::exp(x[j] - top); });
  const T inverse = T(1) / row_sum<T>(n, [=](int64_t j) { return y[j]; });
  vector_loop(0, n, [=](int64_t j) { y[j] *= inverse; });
}
// log sum_j e^x_j
template <class T>
inline T log_sum_exp(const T* x, int64_t n) {
  const T top = row_max(x, n);
  return top + vmath::log(row_sum<T>(n, [=](int64_t j) { return vmath::exp(x[j] - top); }));
}
// dx = y * (dy - sum(dy * y)), dx may be dy
template <class T>
inline void softmax_row_backward(const T* y, const T* dy, T* dx, int64_t n) {
  const T dot = row_sum<T>(n, [=](int64_t j) { return dy[j] * y[j]; });
  vector_loop(0, n, [=](int64_t j) { dx[j] = y[j] * (dy[j] - dot); });
}

}  // namespace switchyard::cpu
