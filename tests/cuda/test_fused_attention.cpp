// Attention as the engine calls it, in bf16 on the GPU: long sequences go through the fused kernel where it takes
// them, all others through products and softmax, and both give what the CPU gives.
#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "tensor/attention.h"
#include "tensor/cuda/cudnn_attention.h"
#include "tests/cuda/compare.h"

namespace switchyard {
namespace {

struct Case {
  int64_t heads, head_width, time_q, time_k;
  bool causal;
  double dropout;
  char padding;  // 0: none, or at the 'l'eft or 'r'ight
  bool bias, fused;
};

struct Result {
  Tensor y, dq, dk, dv;
};
Tensor normal(Shape shape, const char* name) {
  Tensor x = Tensor::empty(std::move(shape));
  random_normal(random_stream(1, name), 0, 1.0, x);
  return x.to(DType::BF16);
}

Result run(const Case& c, Device device) {
  const int64_t B = 2, W = c.heads * c.head_width;
  const AttentionSpec s{B, c.time_q, c.time_k, c.heads, c.causal, 0.125, c.dropout};
  std::vector<uint8_t> hidden;
  for (int64_t t = 0; t < B * c.time_k; ++t)
    hidden.push_back(c.padding == 'r' ? t % c.time_k >= c.time_k - 9 : t % c.time_k < 9);
  const Tensor padding = c.padding ? Tensor::of(hidden) : Tensor();
  const auto leaf = [&](Shape shape, const char* name) {
    return Var(normal(std::move(shape), name).to(device), true);
  };
  const Var q = leaf({B * c.time_q, W}, "q"), k = leaf({B * c.time_k, W}, "k"),
            v = leaf({B * c.time_k, W}, "v");
  const Var bias =
      c.bias ? Var(Tensor::full({c.heads, c.time_q, c.time_k}, 0.25).to(device)) : Var();
  if (device == Device::CUDA) {
    EXPECT_EQ(cuda::attention_is_fused(q.data(), padding, c.bias ? bias.data() : Tensor(), s),
              c.fused && cuda::cudnn_attention_available());
  }
  const Var y = attention(q, k, v, padding, bias, s, random_stream(1, "dropout"));
  backward({y}, {normal(y.shape(), "dy").to(device)});
  return {y.data(), q.grad(), k.grad(), v.grad()};
}

TEST(FusedAttention, ServesWhatItTakesAndLeavesTheRest) {
  for (const Case& c : {Case{1, 64, 256, 256, true, 0, 0, false, true},
                        Case{2, 128, 256, 300, false, 0, 0, false, true},
                        Case{1, 64, 256, 256, true, 0, 'r', false, true},
                        Case{1, 64, 256, 256, false, 0, 'l', false, false},
                        Case{1, 64, 255, 256, false, 0, 0, false, false},     // too short
                        Case{1, 32, 256, 256, true, 0, 0, false, false},      // head width
                        Case{1, 64, 256, 256, false, 0.25, 0, false, false},  // dropout
                        Case{1, 64, 256, 256, false, 0, 0, true, false}}) {   // bias
    SCOPED_TRACE(concat(c.time_q, " queries, ", c.time_k, " keys, width ", c.head_width));
    const Result gpu = run(c, Device::CUDA), cpu = run(c, Device::CPU);
    EXPECT_TRUE(near(gpu.y, cpu.y, 1e-2));
    EXPECT_TRUE(near(gpu.dq, cpu.dq, 2e-2));
    EXPECT_TRUE(near(gpu.dk, cpu.dk, 2e-2));
    EXPECT_TRUE(near(gpu.dv, cpu.dv, 2e-2));
  }
}

}  // namespace
}  // namespace switchyard
