// The grouped products in bf16 against sums in f64 of the same bf16 values.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tensor/cuda/grouped_gemm.h"
#include "tensor/device.h"

namespace switchyard {
namespace {

using cuda::GroupedChoice, cuda::GroupedKind;

struct Case {
  std::vector<int64_t> rows;  // of each group
  int64_t k, m;
  int64_t groups() const { return int64_t(rows.size()); }
  std::vector<int64_t> offsets() const {
    std::vector<int64_t> o = {0};
    for (int64_t r : rows) o.push_back(o.back() + r);
    return o;
  }
  int64_t n() const { return offsets().back(); }
};

std::vector<int64_t> only(int groups, int g, int64_t rows) {
  std::vector<int64_t> all(groups);
  all[g] = rows;
  return all;
}

// One, few and many groups; without rows, with one row, with all; widths below, at and above a tile and a stage
const std::vector<Case> kCases = {
    {{200}, 72, 136},
    {{0, 1, 130}, 8, 264},
    {{64, 128, 3}, 64, 128},
    {{5, 0, 0, 70, 1, 17, 0, 129}, 200, 40},
    {only(64, 37, 150), 24, 16},
    {std::vector<int64_t>(64, 2), 16, 8},
    {{0, 0, 0}, 16, 16},
    {{3}, 0, 8},
    {{70, 3}, 392, 40},  // more stages than a ring has, inside a tile; the next one for ragged K
    {{290}, 16, 8}};

std::vector<GroupedChoice> choices() {
  std::vector<GroupedChoice> all = {{GroupedKind::Mma, 64}, {GroupedKind::Mma, 128}};
  if (cuda::wgmma_available()) all.push_back({GroupedKind::Wgmma});
  return all;
}

Tensor random(Shape shape, DType dtype, int seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  std::vector<float> values(numel_of(shape));
  for (float& v : values) v = uniform(generator);
  return Tensor::of(values, std::move(shape)).to(dtype);
}
Tensor nan(Shape shape, DType dtype) {
  return Tensor::full(std::move(shape), std::nan(""), dtype).to(Device::CUDA);
}
std::vector<double> values(const Tensor& t) {
  return t.to(Device::CPU).to(DType::F64).to_vector<double>();
}
std::vector<std::byte> bits(const Tensor& t) {
  const Tensor host = t.to(Device::CPU);
  return {host.raw(), host.raw() + host.bytes()};
}

// sum: the exact value; size: the sum of the terms' magnitudes
void expect_near(double got, double sum, double size, DType dtype) {
  const double rounding = dtype == DType::BF16 ? std::abs(sum) / 256 : 0;
  EXPECT_LE(std::abs(got - sum), rounding + 1e-5 * size + 1e-30) << got << " for " << sum;
}

Tensor forward(const Case& c, const Tensor& x, const Tensor& w, bool transpose_w,
               const Tensor& bias, GroupedChoice choice) {
  Tensor y = nan({c.n(), c.m}, DType::BF16);
  cuda::grouped_mma(x.to(Device::CUDA), Tensor::of(c.offsets()).to(Device::CUDA),
                    w.to(Device::CUDA), transpose_w, bias.defined() ? bias.to(Device::CUDA) : bias,
                    y, choice);
  return y;
}
Tensor weight_gradient(const Case& c, const Tensor& dy, const Tensor& x, DType dtype,
                       GroupedChoice choice) {
  Tensor dw = nan({c.groups(), c.m, c.k}, dtype);
  cuda::grouped_mma_dw(dy.to(Device::CUDA), x.to(Device::CUDA),
                       Tensor::of(c.offsets()).to(Device::CUDA), dw, choice);
  return dw;
}

void check_forward(const Case& c, bool transpose_w, DType bias_dtype, bool with_bias) {
  const Tensor x = random({c.n(), c.k}, DType::BF16, 1);
  const Tensor w = random(transpose_w ? Shape{c.groups(), c.m, c.k} : Shape{c.groups(), c.k, c.m},
                          DType::BF16, 2);
  const Tensor bias = with_bias ? random({c.groups(), c.m}, bias_dtype, 3) : Tensor();
  const auto vx = values(x), vw = values(w),
             vb = with_bias ? values(bias) : std::vector<double>(c.groups() * c.m);
  const Tensor y = forward(c, x, w, transpose_w, bias, {});
  const auto vy = values(y);
  const auto offsets = c.offsets();
  for (int64_t g = 0; g < c.groups(); ++g)
    for (int64_t r = offsets[g]; r < offsets[g + 1]; ++r)
      for (int64_t j = 0; j < c.m; ++j) {
        double sum = vb[g * c.m + j], size = std::abs(sum);
        for (int64_t i = 0; i < c.k; ++i) {
          const double term =
              vx[r * c.k + i] * vw[g * c.k * c.m + (transpose_w ? j * c.k + i : i * c.m + j)];
          sum += term;
          size += std::abs(term);
        }
        expect_near(vy[r * c.m + j], sum, size, DType::BF16);
      }
  for (const GroupedChoice& choice : choices())  // one of them is the default: the same call again
    if (choice.kind == GroupedKind::Mma) {
      EXPECT_EQ(bits(forward(c, x, w, transpose_w, bias, choice)), bits(y)) << choice.tile_rows;
    } else {
      const auto other = values(forward(c, x, w, transpose_w, bias, choice));
      for (size_t i = 0; i < other.size(); ++i)
        expect_near(other[i], vy[i], double(c.k) + 1, DType::BF16);
    }
}

TEST(CudaGrouped, Forward) {
  for (const Case& c : kCases) check_forward(c, true, DType::F32, false);
}
TEST(CudaGrouped, InputGradient) {
  for (const Case& c : kCases) check_forward(c, false, DType::F32, false);
}
TEST(CudaGrouped, Bias) {
  for (const DType dtype : {DType::F32, DType::BF16}) {
    check_forward(kCases[1], true, dtype, true);
    check_forward(kCases[3], false, dtype, true);
    check_forward(kCases[7], true, dtype, true);
  }
}

TEST(CudaGrouped, WeightGradient) {
  for (const Case& c : kCases)
    for (const DType dtype : {DType::F32, DType::BF16}) {
      if (dtype == DType::BF16 && c.groups() != 8) continue;  // one case will do
      const Tensor x = random({c.n(), c.k}, DType::BF16, 4),
                   dy = random({c.n(), c.m}, DType::BF16, 5);
      const auto vx = values(x), vdy = values(dy);
      const Tensor dw = weight_gradient(c, dy, x, dtype, {});
      const auto got = values(dw);
      const auto offsets = c.offsets();
      for (int64_t g = 0; g < c.groups(); ++g)
        for (int64_t j = 0; j < c.m; ++j)
          for (int64_t i = 0; i < c.k; ++i) {
            double sum = 0, size = 0;
            for (int64_t r = offsets[g]; r < offsets[g + 1]; ++r) {
              const double term = vdy[r * c.m + j] * vx[r * c.k + i];
              sum += term;
              size += std::abs(term);
            }
            expect_near(got[(g * c.m + j) * c.k + i], sum, size, dtype);
          }
      if (dtype == DType::F32) {
        EXPECT_EQ(bits(weight_gradient(c, dy, x, dtype, {})), bits(dw));
      }
      if (!cuda::wgmma_available()) continue;
      const auto other = values(weight_gradient(c, dy, x, dtype, {GroupedKind::Wgmma}));
      for (size_t i = 0; i < other.size(); ++i)
        expect_near(other[i], got[i], double(c.n()) + 1, dtype);
    }
}

// Tiles and stages reach into the rows of the next group: nothing of them may arrive, not even 0 * NaN.
TEST(CudaGrouped, GroupsDoNotTouch) {
  const Case c = {{9, 5, 70}, 24, 40};
  const Tensor w = random({3, c.m, c.k}, DType::BF16, 6);
  for (const GroupedChoice& choice : choices()) {
    Tensor x = random({c.n(), c.k}, DType::BF16, 7), dy = random({c.n(), c.m}, DType::BF16, 8);
    const auto y = values(forward(c, x, w, true, {}, choice));
    const auto dw = values(weight_gradient(c, dy, x, DType::F32, choice));
    for (Tensor* t : {&x, &dy})
      for (auto [begin, end] : {std::pair{0, 9}, {14, 84}}) {
        Tensor rows = t->slice(begin, end);
        std::fill(rows.data<BFloat16>(), rows.data<BFloat16>() + rows.numel(), BFloat16(NAN));
      }
    const auto y_nan = values(forward(c, x, w, true, {}, choice));
    const auto dw_nan = values(weight_gradient(c, dy, x, DType::F32, choice));
    for (int64_t i = 9 * c.m; i < 14 * c.m; ++i) EXPECT_EQ(y[i], y_nan[i]);
    for (int64_t i = c.m * c.k; i < 2 * c.m * c.k; ++i) EXPECT_EQ(dw[i], dw_nan[i]);
    EXPECT_TRUE(std::isnan(y_nan[0]) && std::isnan(dw_nan[0]));
  }
}

TEST(CudaGrouped, RefusesWidthsThatDoNotFit) {
  EXPECT_FALSE(cuda::grouped_widths_fit(12, 16));
  const Case c = {{4}, 12, 16};
  const Tensor x = random({4, 12}, DType::BF16, 1), w = random({1, 16, 12}, DType::BF16, 2);
  try {
    forward(c, x, w, true, {}, {});
    ADD_FAILURE() << "no error";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("multiple of 8"), std::string::npos) << e.what();
  }
  Tensor y = nan({4, 16}, DType::BF16);
  EXPECT_THROW(cuda::grouped_mma(random({4, 8}, DType::BF16, 1).to(Device::CUDA),
                                 Tensor::of<int64_t>({0, 5}),
                                 random({1, 16, 8}, DType::BF16, 2).to(Device::CUDA), true, {}, y),
               Error);
}

}  // namespace
}  // namespace switchyard
