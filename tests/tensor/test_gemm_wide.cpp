// The blocking that AVX-512 uses (12 rows, vectors of 16 floats or 8 doubles) on any CPU: the same
// template over a vector emulated by an array must give the bits of the AVX2 kernel.
#include <gtest/gtest.h>

#include "tensor/cpu/gemm.h"
#include "tests/tensor/random_tensor.h"

namespace switchyard {
namespace {

template <class T, int W>
struct Emulated {
  struct Vector {
    T x[W];
  };
  static constexpr int width = W, rows = 12;
  static Vector zero() { return Vector{}; }
  static Vector load(const T* p) {
    Vector v;
    for (int i = 0; i < W; ++i) v.x[i] = p[i];
    return v;
  }
  static void store(T* p, const Vector& v) {
    for (int i = 0; i < W; ++i) p[i] = v.x[i];
  }
  static Vector broadcast(const T* p) {
    Vector v;
    for (T& x : v.x) x = *p;
    return v;
  }
  static Vector fma(const Vector& a, const Vector& b, const Vector& c) {
    Vector v;
    for (int i = 0; i < W; ++i) v.x[i] = std::fma(a.x[i], b.x[i], c.x[i]);
    return v;
  }
  static Vector add(const Vector& a, const Vector& b) {
    Vector v;
    for (int i = 0; i < W; ++i) v.x[i] = a.x[i] + b.x[i];
    return v;
  }
};

template <class T, int W>
void expect_equal(const cpu::GemmIsa<T>& avx2) {
  const cpu::GemmIsa<T> wide = cpu::isa_of<Emulated<T, W>, T>();
  const DType type = kDTypeOf<T>;
  const int64_t m = 131, n = 291, k = 270;
  const Tensor bias = random_tensor({n}, 3, type);
  for (int flags = 0; flags < 8; ++flags) {
    const bool ta = flags & 1, tb = flags & 2, accumulate = flags & 4;
    const Tensor a = random_tensor({m * k}, 1, type), b = random_tensor({n * k}, 2, type);
    const Tensor c = random_tensor({m, n}, 4, type), d = c.clone();
    const auto run = [&](const cpu::GemmIsa<T>& isa, const Tensor& out) {
      const Tensor scratch = Tensor::empty({isa.scratch_bytes}, DType::U8);
      isa.multiply({m, n, k, a.data<T>(), ta ? m : k, ta, b.data<T>(), tb ? k : n, tb,
                    out.data<T>(), n, bias.data<T>(), accumulate},
                   0, m, 0, n, reinterpret_cast<T*>(scratch.raw()));
    };
    run(avx2, c), run(wide, d);
    EXPECT_TRUE(same_bits(c, d)) << flags;
  }
}

TEST(Matmul, WideTilesGiveTheSameBits) {
  expect_equal<float, 16>(cpu::kAvx2F32);
  expect_equal<double, 8>(cpu::kAvx2F64);
}

}  // namespace
}  // namespace switchyard
