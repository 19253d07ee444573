// Every other kernel against a plain f64 computation, or against its definition.
#include <gtest/gtest.h>

#include <functional>

#include "tests/tensor/random_tensor.h"

namespace switchyard {
namespace {

using Values = std::vector<double>;
Values values(const Tensor& t) { return t.to(DType::F64).to_vector<double>(); }
// got is close to wanted: relative to the largest element, at float precision
void expect_close(const Tensor& got, const Values& wanted, double tolerance = 1e-5) {
  const Values g = values(got);
  ASSERT_EQ(g.size(), wanted.size());
  double size = 1e-3;
  for (double w : wanted) size = std::max(size, std::fabs(w));
  for (size_t i = 0; i < g.size(); ++i)
    ASSERT_NEAR(g[i], wanted[i], tolerance * size) << "element " << i;
}

TEST(Elementwise, FollowsItsFormulas) {
  const Tensor a = random_tensor({5, 7}, 1), b = random_tensor({5, 7}, 2),
               s = random_tensor({5}, 4);
  const Values va = values(a), vb = values(b), vs = values(s);
  Tensor y = empty_like(a);
  const auto expect = [&](const std::function<double(int, int)>& f) {
    Values wanted;
    for (int i = 0; i < 5; ++i)
      for (int j = 0; j < 7; ++j) wanted.push_back(f(i, j));
    expect_close(y, wanted);
  };
  const auto at = [](int i, int j) { return i * 7 + j; };
  add(a, b, y), expect([&](int i, int j) { return va[at(i, j)] + vb[at(i, j)]; });
  multiply(a, b, y), expect([&](int i, int j) { return va[at(i, j)] * vb[at(i, j)]; });
  scale(0.3, a, y), expect([&](int i, int j) { return 0.3 * va[at(i, j)]; });
  axpy(-2.0, a, y), expect([&](int i, int j) { return -1.7 * va[at(i, j)]; });
  scale_rows(a, s, y), expect([&](int i, int j) { return va[at(i, j)] * vs[i]; });
  relu_forward(a, y), expect([&](int i, int j) { return std::max(va[at(i, j)], 0.0); });
  gelu_forward(a, y), expect([&](int i, int j) {
    const double x = va[at(i, j)];
    return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
  });
  sigmoid_forward(a, y), expect([&](int i, int j) { return 1 / (1 + std::exp(-va[at(i, j)])); });
  Tensor dx = empty_like(a);
  sigmoid_backward(a, y, b, dx);
  std::swap(y, dx), expect([&](int i, int j) {
    const double sigmoid = 1 / (1 + std::exp(-va[at(i, j)]));
    return vb[at(i, j)] * sigmoid * (1 - sigmoid);
  });
  Tensor bad = Tensor::empty({3});
  EXPECT_THROW(add(a, b, bad), Error);
}

TEST(Reduce, FollowsItsFormulas) {
  for (int64_t c : {1, 15, 16, 300}) {
    const int64_t n = 40;
    const Tensor a = random_tensor({n, c}, 1), b = random_tensor({n, c}, 2);
    const Values va = values(a), vb = values(b);
    Values dots(n), sums(c);
    double total = 0;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < c; ++j) {
        dots[i] += va[i * c + j] * vb[i * c + j];
        sums[j] += va[i * c + j], total += va[i * c + j];
      }
    Tensor y = Tensor::empty({n});
    row_dot(a, b, y), expect_close(y, dots);
    Tensor z = Tensor::empty({c});
    grouped_sum_rows(a, Tensor::of<int64_t>({0, n}), z), expect_close(z, sums);
    Tensor t = Tensor::empty({1}, DType::F64);
    sum_all(a, t), expect_close(t, {total}, 1e-12);
    Tensor top = Tensor::empty({n}, DType::I64);
    argmax_rows(a, top);
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < c; ++j) EXPECT_LE(va[i * c + j], va[i * c + top.data<int64_t>()[i]]);
  }
  Tensor top = Tensor::empty({1}, DType::I64);
  argmax_rows(Tensor::of<float>({1, 3, 3, 2}, {1, 4}), top);
  EXPECT_EQ(*top.data<int64_t>(), 1);
  Tensor blocks = Tensor::empty({3}, DType::F64);
  squared_norm_blocks(Tensor::full({4096 * 2 + 100}, 2.0), blocks);
  EXPECT_EQ(blocks.to_vector<double>(), (Values{16384, 16384, 400}));
}

TEST(Softmax, FollowsItsFormulas) {
  for (int64_t c : {1, 5, 64, 300}) {
    const Tensor x = random_tensor({4, c}, 1), dy = random_tensor({4, c}, 2);
    const Values vx = values(x), vdy = values(dy);
    Values y(4 * c), log_y(4 * c), dx(4 * c);
    for (int64_t i = 0; i < 4; ++i) {
      double sum = 0, dot = 0;
      for (int64_t j = i * c; j < (i + 1) * c; ++j) sum += std::exp(vx[j]);
      for (int64_t j = i * c; j < (i + 1) * c; ++j)
        y[j] = std::exp(vx[j]) / sum, log_y[j] = std::log(y[j]), dot += y[j] * vdy[j];
      for (int64_t j = i * c; j < (i + 1) * c; ++j) dx[j] = y[j] * (vdy[j] - dot);
    }
    Tensor t = empty_like(x), g = empty_like(x);
    softmax_forward(x, t), expect_close(t, y);
    softmax_backward(t, dy, g), expect_close(g, dx);
    log_softmax_forward(x, g), expect_close(g, log_y);
  }
  const float inf = std::numeric_limits<float>::infinity();
  Tensor t = Tensor::empty({2, 2});
  softmax_forward(Tensor::of<float>({-inf, -inf, 1000, -inf}, {2, 2}), t);
  EXPECT_EQ(t.to_vector<float>(), (std::vector<float>{0, 0, 1, 0}));
}

TEST(LayerNorm, FollowsItsFormulas) {
  const int64_t n = 9, c = 70;
  Tensor x = random_tensor({n, c}, 1);
  add(x, Tensor::full({n, c}, 5.0), x);
  const Tensor w = random_tensor({c}, 2), b = random_tensor({c}, 3), dy = random_tensor({n, c}, 4);
  const Values vx = values(x), vw = values(w), vb = values(b), vdy = values(dy);
  Values y(n * c), dx(n * c), dw(c), db(c), means, rstds;
  for (int64_t i = 0; i < n; ++i) {
    double mean = 0, var = 0, mean_g = 0, mean_gn = 0;
    for (int64_t j = 0; j < c; ++j) mean += vx[i * c + j] / c;
    for (int64_t j = 0; j < c; ++j) var += std::pow(vx[i * c + j] - mean, 2) / c;
    const double rstd = 1 / std::sqrt(var + 1e-5);
    for (int64_t j = 0; j < c; ++j) {
      const double normal = (vx[i * c + j] - mean) * rstd, g = vdy[i * c + j] * vw[j];
      y[i * c + j] = normal * vw[j] + vb[j];
      mean_g += g / c, mean_gn += g * normal / c;
      dw[j] += vdy[i * c + j] * normal, db[j] += vdy[i * c + j];
    }
    for (int64_t j = 0; j < c; ++j)
      dx[i * c + j] =
          (vdy[i * c + j] * vw[j] - mean_g - (vx[i * c + j] - mean) * rstd * mean_gn) * rstd;
    means.push_back(mean), rstds.push_back(rstd);
  }
  Tensor t = empty_like(x), mean = Tensor::empty({n}), rstd = Tensor::empty({n});
  layer_norm_forward(x, w, b, 1e-5, t, mean, rstd);
  expect_close(t, y), expect_close(mean, means), expect_close(rstd, rstds);
  Tensor gw = random_tensor({c}, 5), gb = random_tensor({c}, 6);
  layer_norm_backward(x, w, mean, rstd, dy, t, gw, gb);
  expect_close(t, dx), expect_close(gw, dw), expect_close(gb, db);
}

TEST(Index, FollowsItsDefinitions) {
  const Tensor x = Tensor::of<float>({1, 2, 3, 4, 5, 6}, {3, 2}),
               at = Tensor::of<int64_t>({2, -1, 0, 2});
  Tensor y = Tensor::full({4, 2}, 7.0);
  gather_rows(x, at, y);
  EXPECT_EQ(y.to_vector<float>(), (std::vector<float>{5, 6, 0, 0, 1, 2, 5, 6}));
  Tensor sum = Tensor::full({3, 2}, 1.0);
  scatter_add_rows(y, at, sum);
  EXPECT_EQ(sum.to_vector<float>(), (std::vector<float>{2, 3, 1, 1, 11, 13}));
  EXPECT_THROW(gather_rows(x, Tensor::of<int64_t>({3, 0, 0, 0}), y), Error);
  EXPECT_THROW(scatter_add_rows(y, Tensor::of<int64_t>({-2, 0, 0, 0}), sum), Error);
}

TEST(Combine, SumsWeightedChoices) {
  const Tensor rows = Tensor::of<float>({1, 2, 3, 4, 5, 6}, {3, 2});
  const Tensor offsets = Tensor::of<int64_t>({0, 2, 2, 4}), at = Tensor::of<int64_t>({1, 0, -1, 2});
  const Tensor weight = Tensor::of<float>({10, 1, 9, 0.5});
  Tensor y = Tensor::full({3, 2}, 7.0);
  combine_forward(rows, offsets, at, weight, y);
  EXPECT_EQ(y.to_vector<float>(), (std::vector<float>{31, 42, 0, 0, 2.5, 3}));
  const Tensor dy = Tensor::of<float>({1, 2, 3, 4, 5, 6}, {3, 2});
  Tensor drows = Tensor::full({3, 2}, 7.0), dweight = Tensor::full({4}, 7.0);
  combine_backward(dy, rows, offsets, at, weight, drows, dweight);
  EXPECT_EQ(drows.to_vector<float>(), (std::vector<float>{1, 2, 10, 20, 2.5, 3}));
  EXPECT_EQ(dweight.to_vector<float>(), (std::vector<float>{11, 5, 0, 61}));
}

TEST(CrossEntropy, FollowsItsFormulas) {
  const int64_t n = 6, c = 40;
  const Tensor x = random_tensor({n, c}, 1), target = Tensor::of<int64_t>({3, 39, -100, 0, 3, 7});
  const Tensor dloss = random_tensor({n}, 2);
  const Values vx = values(x), vd = values(dloss);
  for (double s : {0.0, 0.1}) {
    Values loss(n), nll(n), dx(n * c);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t t = target.data<int64_t>()[i];
      if (t < 0) continue;
      double sum = 0;
      for (int64_t j = 0; j < c; ++j) sum += std::exp(vx[i * c + j]);
      nll[i] = std::log(sum) - vx[i * c + t];
      loss[i] = (1 - s) * nll[i];
      for (int64_t j = 0; j < c; ++j) {
        loss[i] += s / c * (std::log(sum) - vx[i * c + j]);
        dx[i * c + j] = vd[i] * (std::exp(vx[i * c + j]) / sum - (j == t ? 1 - s : 0) - s / c);
      }
    }
    Tensor l = Tensor::empty({n}), m = Tensor::empty({n}), lse = Tensor::empty({n}), g = x.clone();
    cross_entropy_forward(x, target, -100, s, l, m, lse);
    expect_close(l, loss), expect_close(m, nll);
    cross_entropy_backward(g, target, -100, s, lse, dloss, g);  // in place
    expect_close(g, dx);
  }
  Tensor l = Tensor::empty({1}), m = l.clone(), lse = l.clone();
  EXPECT_THROW(
      cross_entropy_forward(Tensor::zeros({1, 4}), Tensor::of<int64_t>({4}), -1, 0.0, l, m, lse),
      Error);
}

TEST(Adam, FollowsBothForms) {
  for (bool decoupled : {false, true}) {
    Tensor p = Tensor::full({5}, 0.5), m = Tensor::full({5}, 0.2), v = Tensor::full({5}, 0.3);
    const AdamSpec spec{0.01, 0.9, 0.98, 1e-6, 0.1, decoupled, 3, 0.5};
    adam_step(Tensor::full({5}, 2.0), spec, p, m, v);
    const double mm = 0.9 * 0.2 + 0.1 * 1.0, vv = 0.98 * 0.3 + 0.02 * 1.0;
    const double c1 = 1 - std::pow(0.9, 3), c2 = 1 - std::pow(0.98, 3);
    double pp = 0.5 * (1 - 0.01 * 0.1);
    if (decoupled) pp -= 0.01 * (mm / c1) / (std::sqrt(vv / c2) + 1e-6);
    else pp -= 0.01 * std::sqrt(c2) / c1 * mm / (std::sqrt(vv) + 1e-6);
    expect_close(p, Values(5, pp), 1e-6), expect_close(m, Values(5, mm), 1e-6);
    expect_close(v, Values(5, vv), 1e-6);
  }
}

}  // namespace
}  // namespace switchyard
