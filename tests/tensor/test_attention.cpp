// Attention against plain f64 loops: masks, bias, dropout, gradients by finite differences of the loops.
#include <gtest/gtest.h>

#include "tests/tensor/random_tensor.h"

namespace switchyard {
namespace {

struct Case {
  int64_t B, Tq, Tk, H, D;
  bool causal, padding, bias;
  double dropout;
};

// The definition, one number at a time; the dropout mask is read from random_bits
std::vector<double> naive(const Case& s, const Tensor& q, const Tensor& k, const Tensor& v,
                          const Tensor& pad, const Tensor& bias, RandomStream r) {
  const double *pq = q.data<double>(), *pk = k.data<double>(), *pv = v.data<double>();
  std::vector<double> y(q.numel());
  const int64_t width = s.H * s.D;
  for (int64_t b = 0; b < s.B; ++b)
    for (int64_t h = 0; h < s.H; ++h)
      for (int64_t t = 0; t < s.Tq; ++t) {
        std::vector<double> p(s.Tk);
        double sum = 0;
        for (int64_t j = 0; j < s.Tk; ++j) {
          if ((s.causal && j > t + s.Tk - s.Tq) ||
              (pad.defined() && pad.data<uint8_t>()[b * s.Tk + j]))
            continue;
          double score = 0;
          for (int64_t d = 0; d < s.D; ++d)
            score +=
                pq[(b * s.Tq + t) * width + h * s.D + d] * pk[(b * s.Tk + j) * width + h * s.D + d];
          score *= 0.4;
          if (bias.defined()) score += bias.data<double>()[(h * s.Tq + t) * s.Tk + j];
          sum += p[j] = std::exp(score);
        }
        for (int64_t j = 0; j < s.Tk; ++j) {
          if (sum > 0) p[j] /= sum;
          const uint64_t element = uint64_t(((b * s.H + h) * s.Tq + t) * s.Tk + j);
          if (s.dropout > 0)
            p[j] *=
                unit_float(random_bits(r, element)) >= float(s.dropout) ? 1 / (1 - s.dropout) : 0;
          for (int64_t d = 0; d < s.D; ++d)
            y[(b * s.Tq + t) * width + h * s.D + d] +=
                p[j] * pv[(b * s.Tk + j) * width + h * s.D + d];
        }
      }
  return y;
}

class Attention : public testing::TestWithParam<Case> {};

TEST_P(Attention, FollowsItsDefinition) {
  const Case s = GetParam();
  const AttentionSpec spec{s.B, s.Tq, s.Tk, s.H, s.causal, 0.4, s.dropout};
  const RandomStream r = random_stream(3, "attention");
  const int64_t width = s.H * s.D;
  const Tensor q = random_tensor({s.B * s.Tq, width}, 1, DType::F64);
  const Tensor k = random_tensor({s.B * s.Tk, width}, 2, DType::F64);
  const Tensor v = random_tensor({s.B * s.Tk, width}, 3, DType::F64);
  const Tensor dy = random_tensor({s.B * s.Tq, width}, 4, DType::F64);
  const Tensor bias = s.bias ? random_tensor({s.H, s.Tq, s.Tk}, 5, DType::F64) : Tensor();
  Tensor pad;
  if (s.padding) {
    pad = Tensor::zeros({s.B, s.Tk}, DType::U8);
    for (int64_t b = 0; b < s.B; ++b)  // sentence b has b fewer keys; the last may have none
      for (int64_t j = 0; j < std::min(s.Tk, b); ++j)
        pad.data<uint8_t>()[b * s.Tk + s.Tk - 1 - j] = 1;
  }
  Tensor y = empty_like(q), probs = Tensor::empty({s.B, s.H, s.Tq, s.Tk}, DType::F64);
  attention_forward(q, k, v, pad, bias, spec, r, y, probs);
  const std::vector<double> wanted = naive(s, q, k, v, pad, bias, r);
  for (size_t i = 0; i < wanted.size(); ++i) ASSERT_NEAR(y.data<double>()[i], wanted[i], 1e-11);

  Tensor dq = empty_like(q), dk = empty_like(k), dv = empty_like(v);
  Tensor dbias = s.bias ? empty_like(bias) : Tensor();
  attention_backward(q, k, v, pad, probs, y, spec, r, dy, dq, dk, dv, dbias);
  const auto check_gradient = [&](const Tensor& x, const Tensor& dx) {
    for (int64_t i = 0; i < x.numel(); i += std::max<int64_t>(x.numel() / 7, 1)) {
      double* element = x.data<double>() + i;
      const double old = *element, step = 1e-5;
      double difference = 0;
      for (double sign : {1.0, -1.0}) {
        *element = old + sign * step;
        const std::vector<double> out = naive(s, q, k, v, pad, bias, r);
        for (size_t o = 0; o < out.size(); ++o) difference += sign * out[o] * dy.data<double>()[o];
      }
      *element = old;
      EXPECT_NEAR(dx.data<double>()[i], difference / (2 * step), 1e-7);
    }
  };
  check_gradient(q, dq), check_gradient(k, dk), check_gradient(v, dv);
  if (s.bias) check_gradient(bias, dbias);

  // f32 follows f64
  Tensor y32 = Tensor::empty(y.shape()), probs32 = Tensor::empty(probs.shape());
  attention_forward(q.to(DType::F32), k.to(DType::F32), v.to(DType::F32), pad,
                    s.bias ? bias.to(DType::F32) : Tensor(), spec, r, y32, probs32);
  for (int64_t i = 0; i < y.numel(); ++i)
    ASSERT_NEAR(y32.data<float>()[i], y.data<double>()[i], 2e-5);
}

INSTANTIATE_TEST_SUITE_P(Cases, Attention,
                         testing::Values(Case{2, 5, 5, 2, 4, false, false, false, 0},
                                         Case{3, 7, 7, 2, 8, true, true, false, 0},
                                         Case{4, 2, 3, 1, 5, false, true, true,
                                              0},  // one sentence without keys
                                         Case{2, 1, 6, 3, 4, true, false, true, 0.3},
                                         Case{2, 9, 20, 2, 16, false, true, true, 0.5},
                                         Case{2, 0, 3, 1, 4, false, false, false, 0.1},
                                         Case{2, 3, 0, 1, 4, false, false, true, 0}));

}  // namespace
}  // namespace switchyard
