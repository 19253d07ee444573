// cuDNN's bf16 attention against the f32 attention of the CPU, on the same rounded inputs. Needs a GPU and cuDNN.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "tensor/cuda/cudnn_attention.h"
#include "tensor/device.h"

namespace switchyard {
namespace {

struct Given {
  AttentionSpec s;
  int64_t head_width;
  bool padded, deterministic;
};

Tensor normal_bf16(Shape shape, int64_t seed) {
  Tensor x = Tensor::empty(std::move(shape));
  cpu::random_normal(random_stream(uint64_t(seed), "test"), 0, 1.0, x);
  return x.to(DType::BF16);
}

// |got - want| / |want|; NaN where anything is
double distance(const Tensor& got, const Tensor& want) {
  const auto a = got.to(Device::CPU).to(DType::F32).to_vector<float>(), b = want.to_vector<float>();
  double difference = 0, size = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    difference += (double(a[i]) - b[i]) * (double(a[i]) - b[i]);
    size += double(b[i]) * b[i];
  }
  return std::sqrt(difference / size);
}

Tensor poisoned(const Tensor& like) {
  return Tensor::full(like.shape(), std::nan(""), like.dtype(), Device::CUDA);
}

void compare(const Given& given) {
  const AttentionSpec& s = given.s;
  const int64_t B = s.batch, W = s.heads * given.head_width;
  SCOPED_TRACE(concat("B ", B, " Tq ", s.time_q, " Tk ", s.time_k, " D ", given.head_width,
                      " causal ", s.causal, " padded ", given.padded, " deterministic ",
                      given.deterministic));
  ASSERT_TRUE(cuda::cudnn_attention_takes(s, W, given.padded, given.deterministic));
  const Tensor q = normal_bf16({B * s.time_q, W}, 1), k = normal_bf16({B * s.time_k, W}, 2),
               v = normal_bf16({B * s.time_k, W}, 3), dy = normal_bf16({B * s.time_q, W}, 4);
  Tensor lengths, padding;
  if (given.padded) {
    std::vector<int32_t> n;
    std::vector<uint8_t> ignore;
    for (int64_t b = 0; b < B; ++b) {
      n.push_back(int32_t(1 + (s.time_k - 1) * (b + 1) / B));
      for (int64_t t = 0; t < s.time_k; ++t) ignore.push_back(t >= n.back());
    }
    lengths = Tensor::of(n);
    padding = Tensor::of(ignore);
  }

  const auto f32 = [](const Tensor& x) { return x.to(DType::F32); };
  Tensor y0 = Tensor::empty(q.shape()), P = Tensor::empty({B, s.heads, s.time_q, s.time_k});
  Tensor dq0 = empty_like(y0), dk0 = Tensor::empty(k.shape()), dv0 = empty_like(dk0), none;
  cpu::attention_forward(f32(q), f32(k), f32(v), padding, Tensor(), s, RandomStream(), y0, P);
  cpu::attention_backward(f32(q), f32(k), f32(v), padding, P, y0, s, RandomStream(), f32(dy), dq0,
                          dk0, dv0, none);

  const auto there = [](const Tensor& x) { return x.to(Device::CUDA); };
  std::vector<std::vector<BFloat16>> first;
  for (int run = 0; run < (given.deterministic ? 2 : 1); ++run) {
    Tensor y = poisoned(q), dq = poisoned(q), dk = poisoned(k), dv = poisoned(k);
    Tensor stats = poisoned(Tensor::empty({B, s.heads, s.time_q}));
    cuda::cudnn_attention_forward(there(q), there(k), there(v), lengths, s, y, stats);
    cuda::cudnn_attention_backward(there(q), there(k), there(v), lengths, y, stats, s,
                                   given.deterministic, there(dy), dq, dk, dv);
    EXPECT_LT(distance(y, y0), 1e-2);
    EXPECT_LT(distance(dq, dq0), 2e-2);
    EXPECT_LT(distance(dk, dk0), 2e-2);
    EXPECT_LT(distance(dv, dv0), 2e-2);
    const std::vector<Tensor> results = {y, dq, dk, dv};
    for (size_t i = 0; i < results.size(); ++i) {
      const auto bits = results[i].to_vector<BFloat16>();
      if (run == 0) first.push_back(bits);
      else
        EXPECT_EQ(std::memcmp(bits.data(), first[i].data(), 2 * bits.size()), 0) << "result " << i;
    }
  }
}

// Each shape compiles its kernels, so the cases are several tests.
void equals_cpu(int64_t D, bool causal) {
  if (!cuda::cudnn_attention_available()) GTEST_SKIP() << "no GPU or no cuDNN";
  for (const bool padded : {false, true})
    for (const bool deterministic : {false, true}) {
      compare({{2, 128, 128, 3, causal, 0.125, 0}, D, padded, deterministic});
      compare({{3, 77, 77, 2, causal, 0.125, 0}, D, padded, deterministic});
      if (!causal) compare({{2, 50, 131, 2, false, 0.125, 0}, D, padded, deterministic});
    }
}
TEST(CudnnAttention, EqualsCpuWidth64) { equals_cpu(64, false); }
TEST(CudnnAttention, EqualsCpuWidth64Causal) { equals_cpu(64, true); }
TEST(CudnnAttention, EqualsCpuWidth128) { equals_cpu(128, false); }
TEST(CudnnAttention, EqualsCpuWidth128Causal) { equals_cpu(128, true); }

TEST(CudnnAttention, LeavesWhatItCannotDo) {
  EXPECT_FALSE(
      cuda::cudnn_attention_takes({2, 8, 8, 2, false, 1.0, 0.1}, 128, false, true));  // dropout
  EXPECT_FALSE(
      cuda::cudnn_attention_takes({2, 8, 8, 2, false, 1.0, 0}, 64, false, true));  // D = 32
  EXPECT_FALSE(cuda::cudnn_attention_takes({2, 4, 8, 2, true, 1.0, 0}, 128, false,
                                           true));  // shifted diagonal
}

}  // namespace
}  // namespace switchyard
