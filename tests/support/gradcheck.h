// Gradient check: loss = sum(y * r) with fixed random r, in f64; the gradient of every element of every
// input against the central difference (f(x + eps) - f(x - eps)) / (2 eps).
// Inputs made by away_from_zero() keep a distance from the kink of relu.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "autograd/var.h"
#include "tensor/rng.h"

namespace switchyard {

using Vars = const std::vector<Var>&;
using VarFunction = std::function<Var(Vars)>;

// Values in [-1, -0.1] and [0.1, 1].
inline Tensor away_from_zero(const Shape& shape, uint64_t seed) {
  Tensor t = Tensor::empty(shape, DType::F64);
  RandomSequence random(random_stream(seed, "gradcheck/input"));
  for (int64_t i = 0; i < t.numel(); ++i) {
    const double size = 0.1 + 0.9 * random.unit();
    t.data<double>()[i] = random.unit() < 0.5 ? -size : size;
  }
  return t;
}

// Tolerance: |analytic - numeric| <= tolerance * max(1, |numeric|). fn must be a pure function; it may hold
// collectives as long as every rank calls gradcheck with inputs of equal size.
inline testing::AssertionResult gradcheck(const VarFunction& fn, const std::vector<Tensor>& inputs,
                                          double tolerance = 1e-6, double eps = 1e-5) {
  std::vector<Var> x;
  for (const Tensor& t : inputs) x.emplace_back(t.clone(), true);
  const Var y = fn(x);
  const Tensor r = away_from_zero(y.shape(), 4242);
  const auto loss = [&] {
    NoGrad no_grad;
    const Var out = fn(x);
    double sum = 0;
    for (int64_t i = 0; i < r.numel(); ++i)
      sum += out.data().data<double>()[i] * r.data<double>()[i];
    return sum;
  };
  if (y.data().dtype() != DType::F64) return testing::AssertionFailure() << "result is not f64";
  if (!y.requires_grad()) return testing::AssertionFailure() << "result has no graph";
  backward({y}, {r});
  for (size_t k = 0; k < x.size(); ++k) {
    if (!x[k].grad().defined())
      return testing::AssertionFailure() << "input " << k << " got no gradient";
    if (x[k].grad().shape() != x[k].shape())
      return testing::AssertionFailure()
             << "input " << k << ": gradient's shape is " << to_string(x[k].grad().shape());
    double* values = x[k].data().data<double>();
    for (int64_t i = 0; i < x[k].data().numel(); ++i) {
      const double before = values[i];
      values[i] = before + eps;
      const double above = loss();
      values[i] = before - eps;
      const double below = loss();
      values[i] = before;
      const double numeric = (above - below) / (2 * eps), analytic = x[k].grad().data<double>()[i];
      if (!(std::fabs(analytic - numeric) <= tolerance * std::max(1.0, std::fabs(numeric))))
        return testing::AssertionFailure() << "input " << k << " element " << i << ": gradient "
                                           << analytic << ", central difference " << numeric;
    }
  }
  return testing::AssertionSuccess();
}

}  // namespace switchyard
