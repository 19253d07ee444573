// The blocking that AVX-512 uses (12 rows, vectors of 16 floats or 8 doubles) on any CPU: the same
// template over a vector emulated by an array must give the bits of the AVX2 kernel.
#include <gtest/gtest.h>

#pragma GCC diagnostic ignored "-Wpsabi"  // vectors that no register of this file's target holds

#include "tensor/cpu/gemm.h"
#include "tests/tensor/random_tensor.h"

namespace switchyard {
namespace {

typedef float Wide32 __attribute__((vector_size(64)));
typedef double Wide64 __attribute__((vector_size(64)));

template <class V>
V emulated_fma(V a, V b, V c) {
  for (size_t i = 0; i < sizeof(V) / sizeof(a[0]); ++i) c[i] = std::fma(a[i], b[i], c[i]);
  return c;
}

template <auto Fma, class T>
void expect_equal(cpu::Multiply<T> avx2) {
  const cpu::Multiply<T> wide = cpu::blocked_product<Fma, 12, T>;
  const DType type = kDTypeOf<T>;
  const int64_t m = 131, n = 291, k = 270;
  const Tensor bias = random_tensor({n}, 3, type);
  for (int flags = 0; flags < 4; ++flags) {
    const bool ta = flags & 1, tb = flags & 2;
    const Tensor a = random_tensor({m * k}, 1, type), b = random_tensor({n * k}, 2, type);
    const Tensor c = random_tensor({m, n}, 4, type), d = c.clone();
    const auto view = [](const Tensor& x, int64_t rows, int64_t columns, bool transposed) {
      const cpu::Matrix<T> stored{x.data<T>(), columns, rows, rows};
      return transposed ? stored.transposed() : cpu::Matrix<T>{x.data<T>(), rows, columns, columns};
    };
    const auto run = [&](cpu::Multiply<T> multiply, const Tensor& out) {
      multiply({view(a, m, k, ta), view(b, k, n, tb), view(out, m, n, false), bias.data<T>()});
    };
    run(avx2, c), run(wide, d);
    EXPECT_TRUE(same_bits(c, d)) << flags;
  }
}

TEST(Matmul, WideTilesGiveTheSameBits) {
  expect_equal<emulated_fma<Wide32>>(cpu::kAvx2F32);
  expect_equal<emulated_fma<Wide64>>(cpu::kAvx2F64);
}

}  // namespace
}  // namespace switchyard
