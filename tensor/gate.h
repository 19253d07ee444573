// What a gate asks of the rows of its probabilities [n, c], of which k columns each are chosen, and the
// division of a token's gate values by their sum: formulas shared by host and device.
#pragma once
#include "tensor/rows.h"

namespace switchyard::gate {

// Functions of a row i, which one thread has; column [n, k]
template <class T>
struct FillColumns {  // y[i, column[i, j]] = value
  T value;
  const int64_t* column;
  T* y;
  int64_t c, k;
  HD void operator()(int64_t i) const {
    for (int64_t j = 0; j < k; ++j) y[i * c + column[i * k + j]] = value;
  }
};
template <class T>
struct GatherColumns {  // y[i, j] = x[i, column[i, j]]
  const T* x;
  const int64_t* column;
  T* y;
  int64_t c, k;
  HD void operator()(int64_t i) const {
    for (int64_t j = 0; j < k; ++j) y[i * k + j] = x[i * c + column[i * k + j]];
  }
};
template <class T>
struct ScatterAddColumns {  // y[i, column[i, j]] += x[i, j]
  const T* x;
  const int64_t* column;
  T* y;
  int64_t c, k;
  HD void operator()(int64_t i) const {
    for (int64_t j = 0; j < k; ++j) y[i * c + column[i * k + j]] += x[i * k + j];
  }
};

struct RowEntropy {  // y = -sum p log p
  template <class Row, class X, class T>
  ROW void operator()(const Row& row, int64_t, int64_t c, const X* p, T* y) const {
    const T sum = row.sum(
        c, [](T p) { return p > 0 ? -p * vmath::log(p) : T(0); }, p);
    if (row.first()) *y = sum;
  }
};

// Functions of a token s with the choices i = offsets[s] .. offsets[s+1]-1
template <class T>
struct Normalize {  // y[i] = x[i] / d[s],  d[s] = max(sum of x[i], epsilon)
  const T* x;
  const int64_t* offsets;
  T *y, *d;
  HD void operator()(int64_t s) const {
    const int64_t begin = offsets[s], end = offsets[s + 1];
    T total = 0;
    for (int64_t i = begin; i < end; ++i) total += x[i];
    const T least = std::numeric_limits<T>::epsilon(), divisor = total < least ? least : total;
    d[s] = divisor;
    for (int64_t i = begin; i < end; ++i) y[i] = x[i] / divisor;
  }
};
template <class T>
struct NormalizeBackward {  // dx[i] = (dy[i] - sum of dy y) / d[s]; no sum where epsilon took over
  const T *dy, *y;
  const int64_t* offsets;
  const T* d;
  T* dx;
  HD void operator()(int64_t s) const {
    const int64_t begin = offsets[s], end = offsets[s + 1];
    const T divisor = d[s];
    T through = 0;
    if (divisor > std::numeric_limits<T>::epsilon())
      for (int64_t i = begin; i < end; ++i) through += dy[i] * y[i];
    for (int64_t i = begin; i < end; ++i) dx[i] = (dy[i] - through) / divisor;
  }
};

}  // namespace switchyard::gate
