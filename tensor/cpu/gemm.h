// The blocked matrix product, written once over a vector type and compiled once for each instruction
// set. Every element of c is one fma chain over k in ascending order: it starts from 0 (or the old c),
// is stored after each block of k and taken up again, and the bias is added at its end. Blocks, tiles,
// vector width and threads therefore never change a bit.
//   for each block of kDepth inner indices: pack b into panels of NR columns      (L2)
//     for each block of kRows rows: pack a                                        (L2)
//       for each panel of b (L1), for each strip of MR rows: one tile of MR x NR in registers
// Source of the blocking: Goto & van de Geijn 2008. Everything here has internal linkage (see
// gemm_avx512.cpp). V: a vector with load, store, broadcast, zero, fma, add, width, rows (MR).
#pragma once
#include <immintrin.h>

#include "tensor/cpu/product.h"

namespace switchyard::cpu {
namespace {

constexpr int64_t kDepth = 256;
constexpr int64_t kRows = 120;  // a multiple of every MR
constexpr int64_t kStride =
    kDepth + 16;                   // of packed rows of a; 16 more, so that rows do not alias in L1
constexpr int64_t kColumns = 256;  // a multiple of every NR

inline int64_t lesser(int64_t a, int64_t b) { return a < b ? a : b; }

// --- packing ----------------------------------------------------------------------------------------
// b's block (rows k0.., columns n0..) becomes panels [NR columns][depth][NR], the last padded with 0.
inline void transpose_8x8(const float* x, int64_t ldx, float* y, int64_t ldy) {
  __m256 r[8], s[8];
  for (int i = 0; i < 8; ++i) r[i] = _mm256_loadu_ps(x + i * ldx);
  for (int i = 0; i < 8; i += 2) {
    s[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    s[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    r[i] = _mm256_shuffle_ps(s[i], s[i + 2], 0x44),
    r[i + 1] = _mm256_shuffle_ps(s[i], s[i + 2], 0xee);
    r[i + 2] = _mm256_shuffle_ps(s[i + 1], s[i + 3], 0x44);
    r[i + 3] = _mm256_shuffle_ps(s[i + 1], s[i + 3], 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_ps(y + i * ldy, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
    _mm256_storeu_ps(y + (i + 4) * ldy, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
  }
}

template <int NR, class T>
void pack_b(const Product<T>& p, int64_t k0, int64_t depth, int64_t n0, int64_t columns, T* out) {
  for (int64_t j = 0; j < columns; j += NR, out += depth * NR) {
    const int64_t width = lesser(NR, columns - j);
    if (p.transpose_b) {
      const T* b = p.b + (n0 + j) * p.ldb + k0;
      for (int64_t i = 0; i < NR; i += 8) {
        int64_t q = 0;
        if constexpr (sizeof(T) == 4) {
          if (i + 8 <= width)
            for (; q + 8 <= depth; q += 8)
              transpose_8x8(b + i * p.ldb + q, p.ldb, out + q * NR + i, NR);
        }
        for (; q < depth; ++q)
          for (int64_t l = i; l < i + 8; ++l) out[q * NR + l] = l < width ? b[l * p.ldb + q] : T(0);
      }
    } else {
      const T* b = p.b + k0 * p.ldb + n0 + j;
      if (width == NR) {
        for (int64_t q = 0; q < depth; ++q)
          for (int l = 0; l < NR; ++l) out[q * NR + l] = b[q * p.ldb + l];
      } else {
        for (int64_t q = 0; q < depth; ++q)
          for (int64_t l = 0; l < NR; ++l) out[q * NR + l] = l < width ? b[q * p.ldb + l] : T(0);
      }
    }
  }
}

// a's block: rows of stride kStride; when a is transposed, strips [MR rows][depth][MR]
template <int MR, class T>
void pack_a(const Product<T>& p, int64_t m0, int64_t rows, int64_t k0, int64_t depth, T* out) {
  if (!p.transpose_a) {
    for (int64_t i = 0; i < rows; ++i) {
      const T* a = p.a + (m0 + i) * p.lda + k0;
      for (int64_t q = 0; q < depth; ++q) out[i * kStride + q] = a[q];
    }
    return;
  }
  for (int64_t i = 0; i < rows; i += MR, out += MR * kStride) {
    const int64_t height = lesser(MR, rows - i);
    const T* a = p.a + k0 * p.lda + m0 + i;
    if (height == MR) {
      for (int64_t q = 0; q < depth; ++q)
        for (int l = 0; l < MR; ++l) out[q * MR + l] = a[q * p.lda + l];
    } else {
      for (int64_t q = 0; q < depth; ++q)
        for (int64_t l = 0; l < height; ++l) out[q * MR + l] = a[q * p.lda + l];
    }
  }
}

// --- the tile ---------------------------------------------------------------------------------------
// R rows x 2 vectors of c. Element (i, q) of packed a is at a[i * RowStep + q * DepthStep].
template <class V, int R, int RowStep, int DepthStep, class T>
__attribute__((noinline)) void tile(const T* a, const T* b, int64_t depth, bool from_zero,
                                    const T* bias, T* c, int64_t ldc) {
  constexpr int W = V::width;
  typename V::Vector x[R][2];
#pragma GCC unroll 12
  for (int i = 0; i < R; ++i) {
    x[i][0] = from_zero ? V::zero() : V::load(c + i * ldc);
    x[i][1] = from_zero ? V::zero() : V::load(c + i * ldc + W);
  }
#pragma GCC unroll 2
  for (int64_t q = 0; q < depth; ++q, b += 2 * W, a += DepthStep) {
    const auto b0 = V::load(b), b1 = V::load(b + W);
#pragma GCC unroll 12
    for (int i = 0; i < R; ++i) {
      const auto v = V::broadcast(a + i * RowStep);
      x[i][0] = V::fma(v, b0, x[i][0]);
      x[i][1] = V::fma(v, b1, x[i][1]);
    }
  }
  if (bias) {
    const auto b0 = V::load(bias), b1 = V::load(bias + W);
#pragma GCC unroll 12
    for (int i = 0; i < R; ++i) x[i][0] = V::add(x[i][0], b0), x[i][1] = V::add(x[i][1], b1);
  }
#pragma GCC unroll 12
  for (int i = 0; i < R; ++i) {
    V::store(c + i * ldc, x[i][0]);
    V::store(c + i * ldc + W, x[i][1]);
  }
}

template <class V, bool TransposedA, int R, class T>
void tile_of_rows(int64_t rows, const T* a, const T* b, int64_t depth, bool from_zero,
                  const T* bias, T* c, int64_t ldc) {
  if constexpr (R > 0) {
    if (rows == R) {
      if constexpr (TransposedA) tile<V, R, 1, V::rows>(a, b, depth, from_zero, bias, c, ldc);
      else tile<V, R, kStride, 1>(a, b, depth, from_zero, bias, c, ldc);
    } else {
      tile_of_rows<V, TransposedA, R - 1>(rows, a, b, depth, from_zero, bias, c, ldc);
    }
  }
}

// A tile that c does not fill to the right: through a padded copy.
template <class V, bool TransposedA, class T>
void edge_tile(int64_t rows, int64_t width, const T* a, const T* b, int64_t depth, bool from_zero,
               const T* bias, T* c, int64_t ldc) {
  constexpr int NR = 2 * V::width;
  alignas(64) T copy[V::rows * NR];
  alignas(64) T padded_bias[NR];
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t l = 0; l < NR; ++l)
      copy[i * NR + l] = !from_zero && l < width ? c[i * ldc + l] : T(0);
  for (int64_t l = 0; l < NR; ++l) padded_bias[l] = bias && l < width ? bias[l] : T(0);
  tile_of_rows<V, TransposedA, V::rows>(rows, a, b, depth, from_zero, bias ? padded_bias : nullptr,
                                        copy, NR);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t l = 0; l < width; ++l) c[i * ldc + l] = copy[i * NR + l];
}

// --- blocks -------------------------------------------------------------------------------------------
template <class V, bool TransposedA, class T>
void multiply_block(const Product<T>& p, int64_t m0, int64_t rows, int64_t n0, int64_t columns,
                    int64_t depth, bool from_zero, bool last, const T* packed_a,
                    const T* packed_b) {
  constexpr int MR = V::rows, NR = 2 * V::width;
  for (int64_t j = 0; j < columns; j += NR) {
    const int64_t width = lesser(NR, columns - j);
    const T* b = packed_b + j * depth;
    const T* bias = last && p.bias ? p.bias + n0 + j : nullptr;
    for (int64_t i = 0; i < rows; i += MR) {
      const int64_t height = lesser(MR, rows - i);
      const T* a = packed_a + i * kStride;
      T* c = p.c + (m0 + i) * p.ldc + n0 + j;
      if (width == NR)
        tile_of_rows<V, TransposedA, MR>(height, a, b, depth, from_zero, bias, c, p.ldc);
      else edge_tile<V, TransposedA>(height, width, a, b, depth, from_zero, bias, c, p.ldc);
    }
  }
}

template <class V, class T>
void multiply(const Product<T>& p, int64_t row_begin, int64_t row_end, int64_t column_begin,
              int64_t column_end, T* scratch) {
  T* packed_b = scratch;
  T* packed_a = scratch + kDepth * kColumns;
  for (int64_t n0 = column_begin; n0 < column_end; n0 += kColumns) {
    const int64_t columns = lesser(kColumns, column_end - n0);
    int64_t k0 = 0;
    do {  // once at least: with k = 0 the product is the bias alone
      const int64_t depth = lesser(kDepth, p.k - k0);
      const bool from_zero = k0 == 0 && !p.accumulate, last = k0 + depth == p.k;
      pack_b<2 * V::width>(p, k0, depth, n0, columns, packed_b);
      for (int64_t m0 = row_begin; m0 < row_end; m0 += kRows) {
        const int64_t rows = lesser(kRows, row_end - m0);
        pack_a<V::rows>(p, m0, rows, k0, depth, packed_a);
        if (p.transpose_a)
          multiply_block<V, true>(p, m0, rows, n0, columns, depth, from_zero, last, packed_a,
                                  packed_b);
        else
          multiply_block<V, false>(p, m0, rows, n0, columns, depth, from_zero, last, packed_a,
                                   packed_b);
      }
      k0 += depth;
    } while (k0 < p.k);
  }
}

template <class V, class T>
constexpr GemmIsa<T> isa_of() {
  return {int64_t(sizeof(T)) * (kDepth * kColumns + kRows * kStride), kColumns, &multiply<V, T>};
}

}  // namespace
}  // namespace switchyard::cpu
