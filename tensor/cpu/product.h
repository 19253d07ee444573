// Matrices in memory and their product. This header stays free of the standard library, and its functions
// are always inlined: gemm_avx512.cpp includes it (see there).
#pragma once
#include <cstdint>

namespace switchyard::cpu {

// Element (i, j) is at data[i * down + j * right]: right is 1, or down is in a transposed view.
template <class T>
struct Matrix {
  T* data;
  int64_t rows, columns, down, right = 1;

  Matrix transposed() const { return {data, columns, rows, right, down}; }
  [[gnu::always_inline]] Matrix part(int64_t row, int64_t column, int64_t m, int64_t n) const {
    return {data + row * down + column * right, m, n, down, right};
  }
};

// c [m, n] = a [m, k] b [k, n] + bias [n]; c is not transposed
template <class T>
struct Product {
  Matrix<T> a, b, c;
  const T* bias = nullptr;
};

template <class T>
void multiply_here(const Product<T>& product);  // on the calling thread

template <class T>
using Multiply = void (*)(const Product<T>&);
extern const Multiply<float> kAvx2F32, kAvx512F32;
extern const Multiply<double> kAvx2F64, kAvx512F64;

}  // namespace switchyard::cpu
