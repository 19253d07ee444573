// Philox known answers; draws are functions of the element index alone; their distributions.
#include <gtest/gtest.h>

#include "tests/tensor/random_tensor.h"

namespace switchyard {
namespace {

TEST(Philox, KnownAnswers) {  // Random123, kat_vectors
  const auto expect = [](RandomStream r, uint64_t block, std::vector<uint32_t> wanted) {
    std::vector<uint32_t> drawn(4);
    philox<1>(r, block, drawn.data());
    EXPECT_EQ(drawn, wanted);
  };
  expect({0, 0}, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  expect({~0ull, ~0ull}, ~0ull, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  expect({0x299f31d0a4093822ull, 0x0370734413198a2eull}, 0x85a308d3243f6a88ull,
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST(Random, ElementsAreDrawnByTheirIndex) {
  const RandomStream r = random_stream(7, "site", 3, 1, 2);
  const int64_t n = 40000;
  Tensor whole = Tensor::empty({n});
  random_uniform(r, 0, 0.0, 1.0, whole);
  for (int64_t i = 0; i < n; ++i)
    ASSERT_EQ(whole.data<float>()[i], unit_float(random_bits(r, uint64_t(i)))) << i;
  for (int threads : {1, 2, 3})
    for (int64_t first : {1, 2, 7, 515}) {
      set_num_threads(threads);
      Tensor part = Tensor::empty({n - first});
      random_uniform(r, first, 0.0, 1.0, part);
      set_num_threads(1);
      EXPECT_TRUE(same_bits(part, whole.slice(first, n)));
    }
  // far along, where the block index needs more than 32 bits
  Tensor far = Tensor::empty({9});
  random_uniform(r, (int64_t(1) << 34) - 5, 0.0, 1.0, far);
  for (int64_t i = 0; i < 9; ++i)
    EXPECT_EQ(far.data<float>()[i], unit_float(random_bits(r, (uint64_t(1) << 34) - 5 + i)));
}

TEST(Random, NormalIsTheQuantileOfItsDraw) {
  const RandomStream r = random_stream(1, "normal");
  const int64_t n = 100000;
  Tensor x = Tensor::empty({n});
  random_normal(r, 0, 2.0, x);
  double mean = 0, square = 0;
  for (int64_t i = 0; i < n; ++i) {
    const double v = x.data<float>()[i] / 2, u = open_unit_float(random_bits(r, uint64_t(i)));
    const double density = std::exp(-v * v / 2) * 0.3989422804;
    ASSERT_NEAR(0.5 * std::erfc(-v / std::sqrt(2.0)), u, 2e-6 * density + 2e-7) << u;
    mean += v / n, square += v * v / n;
  }
  EXPECT_NEAR(mean, 0, 0.01);
  EXPECT_NEAR(square, 1, 0.02);
}

TEST(Random, RowIdsNameTheRowsOfTheWhole) {
  const RandomStream r = random_stream(1, "rows");
  const Tensor ids = Tensor::of<int64_t>({5, 0, 5, 3}), x = random_tensor({6, 37}, 1);
  Tensor whole = Tensor::empty({6, 37}), rows = Tensor::empty({4, 37});
  const auto expect_rows = [&] {
    for (int i = 0; i < 4; ++i) {
      const int64_t id = ids.data<int64_t>()[i];
      EXPECT_TRUE(same_bits(rows.slice(i, i + 1), whole.slice(id, id + 1)));
    }
  };
  random_gumbel(r, Tensor(), whole), random_gumbel(r, ids, rows), expect_rows();
  for (int64_t i = 0; i < 37; ++i)
    EXPECT_NEAR(whole.data<float>()[i],
                -std::log(-std::log(double(open_unit_float(random_bits(r, uint64_t(i)))))), 2e-6);
  Tensor picked = Tensor::empty({4, 37});
  gather_rows(x, ids, picked);
  dropout(x, Tensor(), r, 0.4, whole), dropout(picked, ids, r, 0.4, rows), expect_rows();
}

TEST(Dropout, KeepsItsShareAndScales) {
  const Tensor x = Tensor::full({100, 1000}, 3.0);
  Tensor y = empty_like(x);
  const RandomStream r = random_stream(1, "dropout");
  dropout(x, Tensor(), r, 0.25, y);
  int64_t kept = 0;
  for (int64_t i = 0; i < x.numel(); ++i) {
    const bool keep = unit_float(random_bits(r, uint64_t(i))) >= 0.25f;
    ASSERT_EQ(y.data<float>()[i], keep ? 4.0f : 0.0f);
    kept += keep;
  }
  EXPECT_NEAR(double(kept), 75000, 600);
  dropout(x, Tensor(), r, 0.0, y);
  EXPECT_TRUE(same_bits(x, y));
  EXPECT_THROW(dropout(x, Tensor(), r, 1.0, y), Error);
}

}  // namespace
}  // namespace switchyard
