// CUDA kernels against their CPU twins: fresh random input in every run, and how far apart two tensors are.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tests/tensor/random_tensor.h"

namespace switchyard {

// Printed once; --gtest_random_seed=<seed> repeats a run.
inline uint64_t test_seed() {
  static const uint64_t seed = [] {
    const int given = GTEST_FLAG_GET(random_seed);
    const uint64_t s = given ? uint64_t(given) : std::random_device()() % 99999 + 1;
    std::printf("seed %d\n", int(s));
    return s;
  }();
  return seed;
}

// Another tensor with every call
inline Tensor fresh_tensor(Shape shape, DType type) {
  static uint64_t calls = 0;
  Tensor t = Tensor::empty(std::move(shape), DType::F64);
  random_normal(random_stream(test_seed(), "fresh", int64_t(++calls)), 0, 1.0, t);
  return t.to(type);
}

inline Tensor on_gpu(const Tensor& t) { return t.to(Device::CUDA); }  // undefined stays undefined

// On the GPU, full of NaN: what a kernel does not write shows.
inline Tensor unwritten(Shape shape, DType type) {
  return on_gpu(Tensor::full(std::move(shape), std::nan(""), type));
}

// |a - b| <= tolerance |b|, as vectors; NaN never is.
inline testing::AssertionResult near(const Tensor& a, const Tensor& b, double tolerance) {
  if (a.shape() != b.shape())
    return testing::AssertionFailure()
           << to_string(a.shape()) << " against " << to_string(b.shape());
  const auto x = a.to(Device::CPU).to(DType::F64).to_vector<double>();
  const auto y = b.to(Device::CPU).to(DType::F64).to_vector<double>();
  double difference = 0, size = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    difference += (x[i] - y[i]) * (x[i] - y[i]);
    size += y[i] * y[i];
  }
  if (std::sqrt(difference) <= tolerance * std::sqrt(size)) return testing::AssertionSuccess();
  return testing::AssertionFailure()
         << "off by " << std::sqrt(difference / size) << " of its size, seed " << test_seed();
}

inline bool same_bits_on_gpu(const Tensor& a, const Tensor& b) {
  return same_bits(a.to(Device::CPU), b.to(Device::CPU));
}

}  // namespace switchyard
