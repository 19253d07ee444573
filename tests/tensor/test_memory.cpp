// Tensors and views, the caching allocator, parallel_for, element types.
#include <gtest/gtest.h>

#include <atomic>
#include <numeric>
#include <thread>

#include "tensor/allocator.h"
#include "tests/tensor/random_tensor.h"

namespace switchyard {
namespace {

TEST(Tensor, ViewsShareStorage) {
  const Tensor t = Tensor::of<float>({0, 1, 2, 3, 4, 5}, {3, 2});
  const Tensor rows = t.slice(1, 3);
  EXPECT_EQ(rows.shape(), (Shape{2, 2}));
  EXPECT_EQ(rows.to_vector<float>(), (std::vector<float>{2, 3, 4, 5}));
  rows.data<float>()[0] = 9;
  EXPECT_EQ(t.reshape({-1}).data<float>()[2], 9);
  EXPECT_EQ(t.reshape({2, -1}).shape(), (Shape{2, 3}));
  EXPECT_THROW(t.reshape({4, -1}), Error);
  EXPECT_THROW(t.reshape({5}), Error);
  EXPECT_THROW(t.slice(2, 4), Error);
  EXPECT_THROW(t.data<double>(), Error);
  const Tensor copy = t.clone();
  copy.data<float>()[0] = 7;
  EXPECT_EQ(t.data<float>()[0], 0);
  EXPECT_EQ(t.dim(-1), 2);
  EXPECT_EQ(to_string(t.shape()), "[3, 2]");
}

TEST(Tensor, EmptyAndUndefined) {
  EXPECT_FALSE(Tensor().defined());
  const Tensor none = Tensor::zeros({0, 4});
  EXPECT_TRUE(none.defined());
  EXPECT_EQ(none.slice(0, 0).numel(), 0);
  EXPECT_EQ(none.clone().shape(), (Shape{0, 4}));
  EXPECT_EQ(Tensor::zeros({}).numel(), 1);
}

TEST(Tensor, ConvertsTypes) {
  const Tensor t = Tensor::of<double>({-1.5, 0, 3, 1.00390625});
  EXPECT_EQ(t.to(DType::F32).to_vector<float>(), (std::vector<float>{-1.5f, 0, 3, 1.00390625f}));
  EXPECT_EQ(t.to(DType::I64).to_vector<int64_t>(), (std::vector<int64_t>{-1, 0, 3, 1}));
  // bf16 has 8 significant bits; halves round to even
  EXPECT_EQ(t.to(DType::BF16).to(DType::F64).to_vector<double>(),
            (std::vector<double>{-1.5, 0, 3, 1.0}));
  EXPECT_EQ(Tensor::full({2}, 3, DType::U8).to(DType::I32).to_vector<int32_t>(),
            (std::vector<int32_t>{3, 3}));
}

// In a thread of its own, which starts with an unused allocator
void in_new_thread(const std::function<void()>& f) { std::thread(f).join(); }

TEST(Allocator, CountsReturnToZero) {
  in_new_thread([] {
    {
      const Tensor a = Tensor::empty({1000}), b = Tensor::empty({0}), c = Tensor::empty({1 << 21});
      for (const Tensor* t : {&a, &b, &c})
        EXPECT_EQ(reinterpret_cast<uintptr_t>(t->raw()) % 64, 0u);
      EXPECT_GE(allocator_stats().live_bytes, 4000 + (4 << 21));
    }
    const AllocatorStats s = allocator_stats();
    EXPECT_EQ(s.live_bytes, 0);
    EXPECT_GE(s.peak_bytes, 4000 + (4 << 21));
    EXPECT_EQ(s.reserved_bytes, s.peak_bytes);  // cached
    reset_peak();
    EXPECT_EQ(allocator_stats().peak_bytes, 0);
  });
}

TEST(Allocator, RepeatedShapesAskTheSystemForNothing) {
  in_new_thread([] {
    const auto step = [] {
      const Tensor a = Tensor::empty({333, 77}), b = Tensor::empty({12345}),
                   c = Tensor::empty({333, 77});
      return a.raw() != c.raw();
    };
    EXPECT_TRUE(step());
    const int64_t reserved = allocator_stats().reserved_bytes;
    for (int i = 0; i < 100; ++i) step();
    EXPECT_EQ(allocator_stats().reserved_bytes, reserved);
  });
}

TEST(Allocator, BlocksMayDieOnOtherThreads) {
  Tensor kept;
  std::vector<Tensor> many;
  in_new_thread([&] {
    kept = Tensor::full({100}, 5);
    for (int i = 0; i < 100; ++i) many.push_back(Tensor::empty({i * 10}));
    std::thread other([&] { many.clear(); });
    for (int i = 0; i < 100; ++i) Tensor::empty({i * 10});
    other.join();
    EXPECT_LE(allocator_stats().live_bytes, 448);
  });
  EXPECT_EQ(kept.data<float>()[99], 5);  // outlives its thread
}

TEST(ParallelFor, CoversEveryItemOnce) {
  for (int threads : {1, 2, 5})
    for (int64_t n : {0, 1, 7, 1000}) {
      set_num_threads(threads);
      std::vector<std::atomic<int>> seen(n);
      parallel_for(n, 1, [&](int64_t begin, int64_t end) {
        parallel_for(1, 1, [](int64_t, int64_t) {});  // nested: runs here
        for (int64_t i = begin; i < end; ++i) ++seen[i];
      });
      set_num_threads(1);
      for (const auto& s : seen) ASSERT_EQ(s, 1);
    }
}

TEST(ParallelFor, RethrowsErrors) {
  set_num_threads(2);
  EXPECT_THROW(parallel_for(100, 1, [](int64_t, int64_t end) { check(end < 100, "last chunk"); }),
               Error);
  set_num_threads(1);
  EXPECT_THROW(set_num_threads(0), Error);
}

// Workers flush denormals exactly when the caller does.
TEST(ParallelFor, WorkersShareTheFloatMode) {
  in_new_thread([] {
    set_num_threads(2);
    const Tensor x = Tensor::full({1 << 16}, 1e-30);
    Tensor y = empty_like(x);
    scale(1e-10, x, y);  // 1e-40 is denormal
    const auto zeros = [&] {
      const std::vector<float> v = y.to_vector<float>();
      return std::count(v.begin(), v.end(), 0.0f);
    };
    EXPECT_EQ(zeros(), 0);
    set_float_mode();
    scale(1e-10, x, y);
    EXPECT_EQ(zeros(), 1 << 16);
  });
}

}  // namespace
}  // namespace switchyard
