// Matrix products against a naive fma loop, bit for bit: the chain over k is the definition.
#include <gtest/gtest.h>

#include "tensor/cpu/product.h"
#include "tests/tensor/random_tensor.h"

namespace switchyard {
namespace {

// c[i, j] = bias[j] + chain of fma over k ascending
template <class T>
Tensor naive(const Tensor& a, bool ta, const Tensor& b, bool tb, const Tensor& bias = {}) {
  const int64_t m = a.dim(ta ? 1 : 0), k = a.dim(ta ? 0 : 1), n = b.dim(tb ? 0 : 1);
  Tensor c = Tensor::zeros({m, n}, a.dtype());
  const T *pa = a.data<T>(), *pb = b.data<T>();
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      T sum = 0;
      for (int64_t q = 0; q < k; ++q)
        sum = std::fma(pa[ta ? q * m + i : i * k + q], pb[tb ? j * k + q : q * n + j], sum);
      c.data<T>()[i * n + j] = bias.defined() ? sum + bias.data<T>()[j] : sum;
    }
  return c;
}
Tensor naive(const Tensor& a, bool ta, const Tensor& b, bool tb, const Tensor& bias = {}) {
  return a.dtype() == DType::F32 ? naive<float>(a, ta, b, tb, bias)
                                 : naive<double>(a, ta, b, tb, bias);
}

struct Dims {
  int64_t m, n, k;
};
const Dims kDims[] = {{1, 1, 1},      {6, 16, 8},     {7, 17, 9},    {5, 33, 31},  {0, 5, 3},
                      {5, 0, 3},      {4, 6, 0},      {13, 48, 257}, {130, 20, 5}, {121, 271, 65},
                      {37, 300, 130}, {250, 40, 520}, {3, 8, 1},     {64, 64, 64}};

TEST(Matmul, EqualsNaiveFmaChains) {
  int id = 0;
  for (DType type : {DType::F32, DType::F64})
    for (const Dims& d : kDims)
      for (int flags = 0; flags < 5; ++flags) {
        const bool ta = flags == 4, tb = flags & 2, with_bias = flags & 1;
        const Tensor a = random_tensor(ta ? Shape{d.k, d.m} : Shape{d.m, d.k}, ++id, type);
        const Tensor b = random_tensor(tb ? Shape{d.n, d.k} : Shape{d.k, d.n}, ++id, type);
        const Tensor bias = with_bias ? random_tensor({d.n}, ++id, type) : Tensor();
        const Tensor expected = naive(a, ta, b, tb, bias);
        for (int threads : {1, 2, 3}) {
          Tensor c = random_tensor({d.m, d.n}, ++id, type);
          set_num_threads(threads);
          const Tensor offsets = Tensor::of<int64_t>({0, a.dim(0)});
          if (ta) grouped_matmul_dw(a, b, offsets, c);
          else grouped_matmul(a, offsets, b, tb, bias, c);
          set_num_threads(1);
          ASSERT_TRUE(same_bits(c, expected))
              << d.m << "x" << d.n << "x" << d.k << " flags " << flags << " threads " << threads
              << " " << name_of(type);
        }
      }
}

TEST(Matmul, MisfittingShapesAreErrors) {
  Tensor c = Tensor::empty({2, 3});
  const Tensor a = Tensor::zeros({2, 4}), w = Tensor::zeros({5, 3});
  const Tensor offsets = Tensor::of<int64_t>({0, 2});
  EXPECT_THROW(grouped_matmul(a, offsets, w, false, Tensor(), c), Error);
  EXPECT_THROW(grouped_matmul_dw(a, w, offsets, c), Error);
}

class Grouped : public testing::TestWithParam<std::vector<int64_t>> {};

TEST_P(Grouped, EqualsOneProductPerGroup) {
  const Tensor offsets = Tensor::of(GetParam());
  const int64_t groups = offsets.numel() - 1, n = GetParam().back(), k = 150, m = 91;
  for (DType type : {DType::F32, DType::F64})
    for (int threads : {1, 2, 4}) {
      const Tensor x = random_tensor({n, k}, 1, type), dy = random_tensor({n, m}, 2, type);
      const Tensor bias = random_tensor({groups, m}, 3, type);
      for (bool transpose : {false, true}) {
        const Tensor w =
            random_tensor(transpose ? Shape{groups, m, k} : Shape{groups, k, m}, 4, type);
        Tensor y = random_tensor({n, m}, 5, type), expected = Tensor::empty({n, m}, type);
        set_num_threads(threads);
        grouped_matmul(x, offsets, w, transpose, bias, y);
        set_num_threads(1);
        for (int64_t g = 0; g < groups; ++g) {
          Tensor rows = expected.slice(GetParam()[g], GetParam()[g + 1]);
          convert(naive(x.slice(GetParam()[g], GetParam()[g + 1]), false,
                        w.slice(g, g + 1).reshape({w.dim(1), w.dim(2)}), transpose,
                        bias.slice(g, g + 1)),
                  rows);
        }
        EXPECT_TRUE(same_bits(y, expected)) << threads;
      }
      Tensor dw = random_tensor({groups, m, k}, 6, type),
             expected = Tensor::empty({groups, m, k}, type);
      Tensor db = random_tensor({groups, m}, 7, type),
             expected_db = Tensor::zeros({groups, m}, type);
      set_num_threads(threads);
      grouped_matmul_dw(dy, x, offsets, dw);
      grouped_sum_rows(dy, offsets, db);
      set_num_threads(1);
      for (int64_t g = 0; g < groups; ++g) {
        const Tensor part = dy.slice(GetParam()[g], GetParam()[g + 1]);
        Tensor one = expected.slice(g, g + 1), sum = expected_db.slice(g, g + 1);
        convert(naive(part, true, x.slice(GetParam()[g], GetParam()[g + 1]), false), one);
        for (int64_t i = 0; i < part.dim(0); ++i) add(sum, part.slice(i, i + 1), sum);
      }
      EXPECT_TRUE(same_bits(dw, expected)) << threads;
      EXPECT_TRUE(same_bits(db, expected_db)) << threads;
    }
}

INSTANTIATE_TEST_SUITE_P(Offsets, Grouped,
                         testing::Values(std::vector<int64_t>{0, 0},
                                         std::vector<int64_t>{0, 0, 5, 5, 6, 140},
                                         std::vector<int64_t>{0, 200, 200, 201}));

TEST(Grouped, BadOffsetsAreErrors) {
  Tensor y = Tensor::empty({4, 2});
  const Tensor x = Tensor::zeros({4, 3}), w = Tensor::zeros({2, 2, 3});
  for (const std::vector<int64_t>& bad : {std::vector<int64_t>{0, 5, 4}, {0, 4}, {0, 1, 3}, {}})
    EXPECT_THROW(grouped_matmul(x, Tensor::of(bad), w, true, Tensor(), y), Error);
}

// Not every machine can run AVX-512; where it can, it must agree with AVX2.
TEST(Matmul, InstructionSetsAgree) {
  if (!__builtin_cpu_supports("avx512f")) GTEST_SKIP() << "this CPU has no AVX-512";
  const Tensor a = random_tensor({250, 300}, 1), b = random_tensor({271, 300}, 2);
  Tensor c = Tensor::empty({250, 271}), d = Tensor::empty({250, 271});
  const auto run = [&](cpu::Multiply<float> multiply, Tensor& out) {
    multiply({{a.data<float>(), 250, 300, 300},
              {b.data<float>(), 300, 271, 1, 300},
              {out.data<float>(), 250, 271, 271}});
  };
  run(cpu::kAvx2F32, c), run(cpu::kAvx512F32, d);
  EXPECT_TRUE(same_bits(c, d));
}

}  // namespace
}  // namespace switchyard
