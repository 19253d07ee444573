// What the kernels of both devices ask of their arguments: sizes, checks, typed pointers, rows.
#pragma once
#include <algorithm>
#include <array>
#include <utility>

#include "tensor/tensor.h"

namespace switchyard {

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

// --- integers: values on the GPU are not looked at ------------------------------------------------------
// Every index names one of n rows or is `none`.
inline void check_index(const char* kernel, const Tensor& index, int64_t n, int64_t none = -1) {
  const int64_t* at = index.data<int64_t>();
  if (index.device() == Device::CUDA) return;
  for (int64_t i = 0; i < index.numel(); ++i)
    if (at[i] != none && (at[i] < 0 || at[i] >= n))
      throw Error(concat(kernel, ": index ", at[i], " outside of ", n, " rows"));
}
// The offsets [G+1] of groups, which must rise from 0 to n; on the host
inline const int64_t* checked_offsets(const char* kernel, const Tensor& offsets, int64_t n) {
  check(offsets.device() == Device::CPU, "offsets of groups have to be on the host");
  const int64_t* o = offsets.data<int64_t>();
  const int64_t* last = o + offsets.numel() - 1;
  if (last < o || *o != 0 || *last != n || !std::is_sorted(o, last + 1))
    throw Error(concat(kernel, ": offsets do not rise from 0 to ", n));
  return o;
}

// --- kernels as functions of rows -----------------------------------------------------------------------
// Tensor arguments, all f32 or all f64. each_row (loops.h) passes row i of a plain tensor, element i of
// one(x), and the start of whole(x), which may have any size. An output may be one of the inputs.
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
// The steps of all arguments, for n rows of c columns
template <size_t N>
std::array<int64_t, N> row_steps(const char* kernel, const Argument (&x)[N], int64_t n, int64_t c) {
  std::array<int64_t, N> step;
  for (size_t k = 0; k < N; ++k) {
    step[k] = x[k].step < 0 ? c : x[k].step;
    if (step[k]) check_numel(kernel, n * step[k], x[k].tensor);
  }
  return step;
}

// x as a matrix [rows, columns] for each of the groups
inline Tensor by_group(const Tensor& x, int64_t groups) {
  check(x.rank() >= 2, "a product needs a matrix for each group");
  return x.reshape({groups, x.dim(-2), x.dim(-1)});
}

}  // namespace switchyard
