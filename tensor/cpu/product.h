// A matrix product on raw memory, and the table of functions that an instruction set provides for it.
// This header stays free of the standard library: gemm_avx512.cpp includes it (see there).
#pragma once
#include <cstdint>

namespace switchyard::cpu {

// c [m, n] = op(a) [m, k] op(b) [k, n] + bias [n]; leading dimensions count elements between rows
template <class T>
struct Product {
  int64_t m = 0, n = 0, k = 0;
  const T* a = nullptr;
  int64_t lda = 0;
  bool transpose_a = false;  // a is [k, m]
  const T* b = nullptr;
  int64_t ldb = 0;
  bool transpose_b = false;  // b is [n, k]
  T* c = nullptr;
  int64_t ldc = 0;
  const T* bias = nullptr;  // or nullptr
  bool accumulate = false;  // c += ...
};

template <class T>
struct GemmIsa {
  int64_t scratch_bytes;  // packed blocks of a and b; 64-byte aligned, one for each thread
  int64_t column_block;   // columns of c that share one packed block of b
  // The part of the product in rows [row_begin, row_end) and columns [column_begin, column_end)
  void (*multiply)(const Product<T>& p, int64_t row_begin, int64_t row_end, int64_t column_begin,
                   int64_t column_end, T* scratch);
};

extern const GemmIsa<float> kAvx2F32, kAvx512F32;
extern const GemmIsa<double> kAvx2F64, kAvx512F64;

}  // namespace switchyard::cpu
