// The formulas of a row, shared by host and device. A Row says who works on it: a thread of the CPU
// (cpu/loops.h), or a warp or a block of the GPU (cuda/loops.h). It has
//   map(n, y, f, x...)  y[j] = f(x[j]...) for j < n; y may be one of the x
//   sum(n, f, x...)     the sum of f(x[j]...), in an order that depends on n alone
//   max(n, x)           the largest x[j]; -inf if there is none
//   find(n, x, value)   the lowest j with x[j] == value; n if there is none
//   owns(n, j)          does the calling thread write element j of n?
//   first()             is it the one that writes the row's scalars?
// X is the type of a matrix' elements, T the type in which they are computed with (dtype.h): the functions f
// see T, and map rounds. An element has the same thread in map and sum, so that a sum may read what map wrote. All threads of a
// row see the same results.
#pragma once
#include <limits>

#include "tensor/dtype.h"
#include "tensor/vmath.h"

#ifdef __CUDACC__
#define ROW __device__ __forceinline__
#else
#define ROW HD
#endif

namespace switchyard::rows {

// --- softmax --------------------------------------------------------------------------------------------
// y = softmax(x); a row of -inf gives zeros
template <class Row, class X>
ROW void softmax(const Row& row, int64_t n, const X* x, X* y) {
  using T = Compute<X>;
  const T top = row.max(n, x);
  if (top == -std::numeric_limits<T>::infinity()) return row.map(n, y, [] { return T(0); });
  const auto power = [=](T x) { return vmath::exp(x - top); };
  if constexpr (!kRounded<X>) {
    row.map(n, y, power, x);
    const T inverse = T(1) / row.sum(
                                 n, [](T y) { return y; }, y);
    row.map(
        n, y, [=](T y) { return y * inverse; }, y);
  } else {  // y cannot hold the powers: they are computed twice
    const T inverse = T(1) / row.sum(n, power, x);
    row.map(
        n, y, [=](T x) { return power(x) * inverse; }, x);
  }
}
// dx = y * (dy - sum(dy * y))
template <class Row, class Y, class X>
ROW void softmax_backward(const Row& row, int64_t n, const Y* y, const X* dy, X* dx) {
  using T = Compute<X>;
  const T dot = row.sum(
      n, [](T y, T dy) { return dy * y; }, y, dy);
  row.map(
      n, dx, [=](T y, T dy) { return y * (dy - dot); }, y, dy);
}
// log sum_j e^x_j
template <class Row, class X>
ROW Compute<X> log_sum_exp(const Row& row, int64_t n, const X* x) {
  using T = Compute<X>;
  const T top = row.max(n, x);
  return top + vmath::log(row.sum(
                   n, [=](T x) { return vmath::exp(x - top); }, x));
}

// Kernels: functions of (row, index of the row, columns, pointers...)
struct Softmax {
  template <class Row, class X>
  ROW void operator()(const Row& row, int64_t, int64_t c, const X* x, X* y) const {
    softmax(row, c, x, y);
  }
};
struct SoftmaxBackward {
  template <class Row, class X>
  ROW void operator()(const Row& row, int64_t, int64_t c, const X* y, const X* dy, X* dx) const {
    softmax_backward(row, c, y, dy, dx);
  }
};
struct LogSoftmax {
  template <class Row, class X>
  ROW void operator()(const Row& row, int64_t, int64_t c, const X* x, X* y) const {
    using T = Compute<X>;
    const T lse = log_sum_exp(row, c, x);
    row.map(
        c, y, [=](T x) { return x - lse; }, x);
  }
};

// --- layer norm -------------------------------------------------------------------------------------------
struct LayerNorm {
  double eps;
  template <class Row, class X, class T>
  ROW void operator()(const Row& row, int64_t, int64_t c, const X* x, const T* w, const T* b, X* y,
                      T* mean, T* rstd) const {
    const T m = row.sum(
                    c, [](T x) { return x; }, x) /
                T(c);
    const T var = row.sum(
                      c, [=](T x) { return (x - m) * (x - m); }, x) /
                  T(c);
    const T r = T(1) / std::sqrt(var + T(eps));
    row.map(
        c, y, [=](T x, T w, T b) { return std::fma((x - m) * r, w, b); }, x, w, b);
    if (row.first()) *mean = m, *rstd = r;
  }
};
// dx = (g - mean(g) - n * mean(g * n)) * rstd,  g = dy * w,  n = (x - mean) * rstd
struct LayerNormBackward {
  template <class Row, class X, class T>
  ROW void operator()(const Row& row, int64_t, int64_t c, const X* x, const T* w, const T* mean,
                      const T* rstd, const X* dy, X* dx) const {
    const T m = *mean, r = *rstd;
    const auto gn = [=](T x, T w, T dy) { return dy * w * ((x - m) * r); };
    const T mean_g = row.sum(
                         c, [](T w, T dy) { return dy * w; }, w, dy) /
                     T(c);
    const T mean_gn = row.sum(c, gn, x, w, dy) / T(c);
    const auto f = [=](T x, T w, T dy) { return (dy * w - mean_g - (x - m) * r * mean_gn) * r; };
    row.map(c, dx, f, x, w, dy);
  }
};

// --- cross-entropy, label-smoothed ------------------------------------------------------------------------
// loss = (1 - s) nll + s (lse - mean(x)),  nll = lse - x[target],  lse = log sum e^x
struct CrossEntropy {
  const int64_t* target;
  int64_t ignore;
  double smoothing;
  template <class Row, class X, class T>
  ROW void operator()(const Row& row, int64_t i, int64_t c, const X* x, T* loss, T* nll,
                      T* lse) const {
    const int64_t t = target[i];
    T log_sum = 0, own = 0, smoothed = 0;
    if (t != ignore) {
      log_sum = log_sum_exp(row, c, x);
      own = smoothed = log_sum - T(x[t]);
      if (smoothing != 0) {
        const T mean = row.sum(
                           c, [](T x) { return x; }, x) /
                       T(c),
                s = T(smoothing);
        smoothed = (T(1) - s) * own + s * (log_sum - mean);
      }
    }
    if (row.first()) *loss = smoothed, *nll = own, *lse = log_sum;
  }
};
struct CrossEntropyBackward {
  const int64_t* target;
  int64_t ignore;
  double smoothing;
  template <class Row, class X, class T>
  ROW void operator()(const Row& row, int64_t i, int64_t c, const X* x, const T* lse,
                      const T* dloss, X* dx) const {
    const int64_t t = target[i];
    if (t == ignore) return row.map(c, dx, [] { return T(0); });
    const T shift = *lse, g = *dloss, uniform = T(smoothing / double(c)), peak = T(1 - smoothing);
    const bool here = row.owns(c, t);
    // before the map: dx may be x
    const T at_target = here ? (vmath::exp(T(x[t]) - shift) - peak - uniform) * g : T(0);
    row.map(
        c, dx, [=](T x) { return (vmath::exp(x - shift) - uniform) * g; }, x);
    if (here) dx[t] = X(at_target);
  }
};

struct ScaleRow {  // y = s x
  template <class Row, class X, class T>
  ROW void operator()(const Row& row, int64_t, int64_t c, const X* x, const T* s, X* y) const {
    row.map(
        c, y, [factor = *s](T x) { return factor * x; }, x);
  }
};

// --- sums of a row ----------------------------------------------------------------------------------------
struct RowDot {
  template <class Row, class X, class T>
  ROW void operator()(const Row& row, int64_t, int64_t c, const X* a, const X* b, T* y) const {
    const T dot = row.sum(
        c, [](T a, T b) { return a * b; }, a, b);
    if (row.first()) *y = dot;
  }
};
// sums[b] = the sum in f64 of f(x) over row b, a block of the n elements of a tensor
inline constexpr int64_t kSumBlock = 4096;
inline int64_t sum_blocks(int64_t n) { return (n + kSumBlock - 1) / kSumBlock; }
template <class F>
struct BlockSum {
  int64_t n;
  double* sums;
  template <class Row, class X>
  ROW void operator()(const Row& row, int64_t b, int64_t c, const X* x) const {
    const int64_t size = n - b * c < c ? n - b * c : c;
    const double sum = row.sum(
        size, [](Compute<X> x) { return F()(double(x)); }, x);
    if (row.first()) sums[b] = sum;
  }
};
struct Itself {
  ROW double operator()(double x) const { return x; }
};
struct Square {
  ROW double operator()(double x) const { return x * x; }
};

struct Argmax {  // the lowest index wins a tie; 0 where all elements are NaN
  int64_t* top;
  template <class Row, class X>
  ROW void operator()(const Row& row, int64_t i, int64_t c, const X* x) const {
    const int64_t j = row.find(c, x, row.max(c, x));
    if (row.first()) top[i] = j < c ? j : 0;
  }
};

// One choice of a token: dx = w dy,  dw = dot(dy, x)
template <class Row, class X, class T>
ROW void combine_backward(const Row& row, int64_t c, T w, const X* dy, const X* x, X* dx, T* dw) {
  const T dot = row.sum(
      c, [](T dy, T x) { return dy * x; }, dy, x);
  row.map(
      c, dx, [=](T dy) { return w * dy; }, dy);
  if (row.first()) *dw = dot;
}

}  // namespace switchyard::rows
