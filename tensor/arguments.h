// What the kernels of both devices ask of their arguments: sizes, checks, typed pointers, rows.
#pragma once
#include <algorithm>

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
template <class... Tensors>
void check_dtype(const char* kernel, DType type, const Tensors&... tensors) {
  for (const Tensor* x : {&tensors...})
    if (x->dtype() != type)
      throw Error(concat(kernel, ": expected ", name_of(type), ", got ", name_of(x->dtype())));
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

// --- kernels as functions of elements and rows ----------------------------------------------------------
// each_element(kernel, f, x...) and each_row(kernel, f, x...) (loops.h) take tensors, of the types that
// kernels.h allows. Only a Tensor& is written; it may be one of the others as well.
template <class T>
const T* pointer(const Tensor& x) {
  return x.data<T>();
}
template <class T>
T* pointer(Tensor& x) {
  return x.data<T>();
}

// each_row passes row i of a plain tensor, a matrix; the start of any_row(x), a matrix of another height;
// element i of one(x); and the start of whole(x). The elements of the last two are in the compute type.
template <class X, bool Matrix>
struct Argument {
  X& tensor;
  int64_t step;  // elements from row to row; -1: a row's length
};
template <class X>
Argument<X, true> any_row(X& x) {
  return {x, 0};
}
template <class X>
Argument<X, false> one(X& x) {
  return {x, 1};
}
template <class X>
Argument<X, false> whole(X& x) {
  return {x, 0};
}
inline Argument<const Tensor, true> argument(const Tensor& x) { return {x, -1}; }
inline Argument<Tensor, true> argument(Tensor& x) { return {x, -1}; }
template <class X, bool Matrix>
Argument<X, Matrix> argument(const Argument<X, Matrix>& x) {
  return x;
}

// Row i begins at start + i * step.
template <class T>
struct RowPointer {
  T* start;
  int64_t step;
};
template <class T, class X, bool Matrix>
auto row_pointer(const char* kernel, const Argument<X, Matrix>& x, int64_t n, int64_t c) {
  const int64_t step = x.step < 0 ? c : x.step;
  if (step) check_numel(kernel, n * step, x.tensor);
  return RowPointer{pointer<std::conditional_t<Matrix, T, Compute<T>>>(x.tensor), step};
}

// --- grouped products -----------------------------------------------------------------------------------
// x as a matrix [rows, columns] for each of the groups
inline Tensor by_group(const Tensor& x, int64_t groups) {
  check(x.rank() >= 2, "a product needs a matrix for each group");
  return x.reshape({groups, x.dim(-2), x.dim(-1)});
}
// The weights by group, and dw by group, when all sizes fit
inline Tensor checked_weights(const Tensor& x, int64_t groups, const Tensor& w, bool transpose_w,
                              const Tensor& bias, const Tensor& y) {
  const int64_t n = rows_of(x);
  const Tensor by = by_group(w, groups);
  const int64_t m = by.dim(transpose_w ? 1 : 2);
  check_dtype("grouped_matmul", x.dtype(), w, y);
  check_numel("grouped_matmul: x", n * by.dim(transpose_w ? 2 : 1), x);
  check_numel("grouped_matmul: y", n * m, y);
  if (!bias.defined()) return by;
  check_numel("grouped_matmul: bias", groups * m, bias);
  check_dtype("grouped_matmul: bias", y.dtype(), bias);
  return by;
}
inline Tensor checked_dw(const Tensor& dy, const Tensor& x, int64_t groups, const Tensor& dw) {
  const Tensor by = by_group(dw, groups);
  check_dtype("grouped_matmul_dw", x.dtype(), dy);
  if (dw.dtype() != compute_type(x.dtype())) check_dtype("grouped_matmul_dw", x.dtype(), dw);
  check_numel("grouped_matmul_dw: dy", rows_of(x) * by.dim(1), dy);
  check_numel("grouped_matmul_dw: x", rows_of(x) * by.dim(2), x);
  return by;
}

}  // namespace switchyard
