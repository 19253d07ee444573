// The blocked matrix product, written once over the vector fma of an instruction set. Every element of c
// is one fma chain over k in ascending order: it starts from 0, is stored after each block
// of k and taken up again, and the bias is added at its end. Blocks, tiles, vector width and threads
// therefore never change a bit.
//   for each block of kDepth inner indices: pack b into panels of two vectors' width       (L2)
//     for each block of kRows rows: pack a                                                 (L2)
//       for each panel of b (L1), for each strip of rows: one tile of R x 2 vectors in registers
// Source of the blocking: Goto & van de Geijn 2008. Everything here has internal linkage (see
// gemm_avx512.cpp). Fma: a function of three vectors; their type gives the vector width.
#pragma once
#include <immintrin.h>

#include "tensor/cpu/product.h"

namespace switchyard::cpu {
namespace {

constexpr int64_t kDepth = 256;
constexpr int64_t kRows = 120;            // a multiple of every R
constexpr int64_t kStride = kDepth + 16;  // of packed rows of a, which then do not alias in L1
template <class T>
constexpr int64_t kColumns = 2048 / sizeof(T);  // a multiple of every panel; b's block has 512 KiB

inline int64_t lesser(int64_t a, int64_t b) { return a < b ? a : b; }

// The first n elements of a vector; n may exceed its width or be negative.
template <class V, class T>
inline V load(const T* p, int64_t n) {
  V x = {};
  if (n >= int64_t(sizeof(V) / sizeof(T))) __builtin_memcpy(&x, p, sizeof(V));
  else
    for (int64_t l = 0; l < n; ++l) x[l] = p[l];
  return x;
}
template <class V, class T>
inline void store(V x, T* p, int64_t n) {
  if (n >= int64_t(sizeof(V) / sizeof(T))) __builtin_memcpy(p, &x, sizeof(V));
  else
    for (int64_t l = 0; l < n; ++l) p[l] = x[l];
}

// --- packing ----------------------------------------------------------------------------------------
// Interleaving the upper and the lower half of the rows three times transposes eight rows of eight.
template <class T>
inline void transpose_8x8(const T* x, int64_t ldx, T* y, int64_t ldy) {
  typedef T Row __attribute__((vector_size(8 * sizeof(T))));
  Row r[8], s[8];
  for (int i = 0; i < 8; ++i) __builtin_memcpy(&r[i], x + i * ldx, sizeof(Row));
#pragma GCC unroll 3
  for (int step = 0; step < 3; ++step) {
    for (int i = 0; i < 4; ++i) {
      s[2 * i] = __builtin_shufflevector(r[i], r[i + 4], 0, 8, 1, 9, 2, 10, 3, 11);
      s[2 * i + 1] = __builtin_shufflevector(r[i], r[i + 4], 4, 12, 5, 13, 6, 14, 7, 15);
    }
    for (int i = 0; i < 8; ++i) r[i] = s[i];
  }
  for (int i = 0; i < 8; ++i) __builtin_memcpy(y + i * ldy, &r[i], sizeof(Row));
}

// y = x, rows of y ldy apart; V: the vector for copies
template <class V, class T>
void pack(const Matrix<T>& x, T* y, int64_t ldy) {
  if (x.right == 1) {
    constexpr int64_t W = sizeof(V) / sizeof(T);
    for (int64_t i = 0; i < x.rows; ++i)
      for (int64_t j = 0; j < x.columns; j += W) {
        const int64_t left = x.columns - j;
        store(load<V>(x.data + i * x.down + j, left), y + i * ldy + j, left);
      }
    return;
  }
  for (int64_t j = 0; j < x.columns; j += 8)
    for (int64_t i = 0; i < x.rows; i += 8) {
      const Matrix<T> block = x.part(i, j, lesser(8, x.rows - i), lesser(8, x.columns - j));
      T* to = y + i * ldy + j;
      if (block.rows * block.columns == 64) {
        transpose_8x8(block.data, x.right, to, ldy);
        continue;
      }
      for (int64_t r = 0; r < block.rows; ++r)
        for (int64_t l = 0; l < block.columns; ++l) to[r * ldy + l] = block.data[r + l * x.right];
    }
}

// --- the tile ---------------------------------------------------------------------------------------
template <class V>
V vector_of(V (*fma)(V, V, V));
template <auto Fma, class T>
constexpr int64_t kPanel = 2 * sizeof(vector_of(Fma)) / sizeof(T);  // columns of a panel and a tile

// R rows of c, of which the first `width` columns exist (Whole: all)
template <auto Fma, int R, bool Whole, class T>
__attribute__((noinline)) void tile(int64_t width, const T* a, const T* b, int64_t depth,
                                    bool from_zero, const T* bias, T* c, int64_t ldc) {
  using V = decltype(vector_of(Fma));
  constexpr int64_t W = sizeof(V) / sizeof(T);
  if constexpr (Whole) width = 2 * W;
  V x[R][2];
#pragma GCC unroll 12
  for (int i = 0; i < R; ++i)
    for (int j = 0; j < 2; ++j)
      x[i][j] = from_zero ? V{} : load<V>(c + i * ldc + j * W, width - j * W);
#pragma GCC unroll 2
  for (int64_t q = 0; q < depth; ++q, b += 2 * W) {
    const V b0 = load<V>(b, W), b1 = load<V>(b + W, W);
#pragma GCC unroll 12
    for (int i = 0; i < R; ++i) {
      const V v = a[i * kStride + q] - V{};  // the scalar in every place
      x[i][0] = Fma(v, b0, x[i][0]);
      x[i][1] = Fma(v, b1, x[i][1]);
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < R; ++i)
    for (int j = 0; j < 2; ++j) {
      if (bias) x[i][j] += load<V>(bias + j * W, width - j * W);
      store(x[i][j], c + i * ldc + j * W, width - j * W);
    }
}

// The tile of the first R rows, or of as many as there are
template <auto Fma, int R, class T, class... A>
void tile_of_rows(int64_t rows, int64_t width, const T* a, A... rest) {
  if (rows < R) {
    if constexpr (R > 1) tile_of_rows<Fma, R - 1>(rows, width, a, rest...);
  } else if (width < kPanel<Fma, T>) {
    tile<Fma, R, false>(width, a, rest...);
  } else {
    tile<Fma, R, true>(width, a, rest...);
  }
}

// --- blocks -------------------------------------------------------------------------------------------
template <auto Fma, int R, class T>
void blocked_product(const Product<T>& p) {
  using V = decltype(vector_of(Fma));
  constexpr int64_t P = kPanel<Fma, T>;
  alignas(64) T packed_a[kRows * kStride];
  alignas(64) T packed_b[kDepth * kColumns<T>];  // panels [depth][P], the last padded with 0
  for (int64_t n0 = 0; n0 < p.c.columns; n0 += kColumns<T>) {
    const int64_t columns = lesser(kColumns<T>, p.c.columns - n0);
    int64_t k0 = 0;
    do {  // once at least: with k = 0 the product is the bias alone
      const int64_t depth = lesser(kDepth, p.a.columns - k0);
      const bool last = k0 + depth == p.a.columns;
      for (int64_t j = 0; j < columns; j += P) {
        T* panel = packed_b + j * depth;
        if (columns - j < P)
          for (int64_t l = 0; l < depth * P; ++l) panel[l] = 0;
        pack<V>(p.b.part(k0, n0 + j, depth, lesser(P, columns - j)), panel, P);
      }
      for (int64_t m0 = 0; m0 < p.c.rows; m0 += kRows) {
        const int64_t rows = lesser(kRows, p.c.rows - m0);
        pack<V>(p.a.part(m0, k0, rows, depth), packed_a, kStride);
        for (int64_t j = 0; j < columns; j += P)
          for (int64_t i = 0; i < rows; i += R)
            tile_of_rows<Fma, R, T>(rows - i, columns - j, packed_a + i * kStride,
                                    packed_b + j * depth, depth, k0 == 0,
                                    last && p.bias ? p.bias + n0 + j : nullptr,
                                    p.c.data + (m0 + i) * p.c.down + n0 + j, p.c.down);
      }
      k0 += depth;
    } while (k0 < p.a.columns);
  }
}

}  // namespace
}  // namespace switchyard::cpu
