// The gate on the GPU against the CPU: its kernels to the bit, whole gates with their weights, losses and
// gradients to rounding, and decisions that are replayed.
#include <cstring>
#include <functional>
#include <numeric>

#include "moe/balance.h"
#include "moe/moe_layer.h"
#include "tests/cuda/compare.h"

namespace switchyard::moe {
namespace {

constexpr DType kFloats[] = {DType::F32, DType::F64};

int64_t below(int64_t n) {
  static std::mt19937_64 numbers(test_seed());
  return int64_t(numbers() % uint64_t(n));
}
Tensor draw_below(Shape shape, int64_t n) {
  Tensor t = Tensor::empty(std::move(shape), DType::I64);
  for (int64_t i = 0; i < t.numel(); ++i) ints(t)[i] = below(n);
  return t;
}
Tensor consecutive(int64_t n) {
  Tensor t = Tensor::empty({n}, DType::I64);
  std::iota(ints(t), ints(t) + n, 0);
  return t;
}

// call(tensors, integers) with all on the host, then on the GPU with integers in either place: the same bits
using Tensors = std::vector<Tensor>;
void expect_same_bits(const Tensors& floats, const Tensor& integers,
                      const std::function<void(Tensors&, const Tensor&)>& call) {
  Tensors host;
  for (const Tensor& t : floats) host.push_back(t.clone());
  call(host, integers);
  for (Device place : {Device::CPU, Device::CUDA}) {
    Tensors there;
    for (const Tensor& t : floats) there.push_back(on_gpu(t).clone());
    call(there, integers.to(place));
    for (size_t k = 0; k < there.size(); ++k)
      EXPECT_TRUE(same_bits_on_gpu(there[k], host[k])) << "tensor " << k;
  }
}

TEST(CudaGate, Columns) {
  for (DType type : kFloats)
    for (const int64_t n : {0, 1, 37, 300})
      for (const int64_t k : {1, 2, 3}) {
        SCOPED_TRACE(concat(name_of(type), " ", n, " rows, ", k));
        const int64_t c = 5;
        const Tensor x = fresh_tensor({n, c}, type), chosen = fresh_tensor({n, k}, type),
                     at = draw_below({n, k}, c);
        expect_same_bits({x}, at, [](auto& t, auto& at) { fill_columns(-7, at, t[0]); });
        expect_same_bits({x, chosen}, at,
                         [](auto& t, auto& at) { gather_columns(t[0], at, t[1]); });
        expect_same_bits({chosen, x}, at,
                         [](auto& t, auto& at) { scatter_add_columns(t[0], at, t[1]); });
      }
  Tensor x = Tensor::zeros({2, 3}, DType::F32, Device::CUDA);
  EXPECT_THROW(fill_columns(1, Tensor::of<int64_t>({0, 3}, {2, 1}), x), Error);
  EXPECT_THROW(fill_columns(1, Tensor::of<int64_t>({0, -1}, {2, 1}), x), Error);
}

TEST(CudaGate, Normalize) {
  for (DType type : kFloats)
    for (const int64_t tokens : {0, 1, 200}) {
      SCOPED_TRACE(concat(name_of(type), " ", tokens, " tokens"));
      std::vector<int64_t> offsets = {0};
      for (int64_t s = 0; s < tokens; ++s) offsets.push_back(offsets.back() + below(4));
      const int64_t n = offsets.back();
      const Tensor x = fresh_tensor({n}, type), dy = fresh_tensor({n}, type), y = zeros_like(x),
                   d = Tensor::zeros({tokens}, type);
      // sums below epsilon, too: negative ones
      expect_same_bits({x, dy, y, d, y}, Tensor::of(offsets), [](auto& t, auto& offsets) {
        normalize_forward(t[0], offsets, t[2], t[3]);
        normalize_backward(t[1], t[2], offsets, t[3], t[4]);
      });
    }
}

TEST(CudaGate, Entropy) {
  for (DType type : kFloats)
    for (const int64_t n : {0, 3, 100})
      for (const int64_t c : {1, 7, 64, 1100}) {
        Tensor p = fresh_tensor({n, c}, type), y = Tensor::empty({n}, type), there = on_gpu(y);
        softmax_forward(p, p);
        for (int64_t i = 0; i < n; ++i) std::memset(p.slice(i, i + 1).raw(), 0, size_of(type));
        row_entropy(p, y);
        row_entropy(on_gpu(p), there);
        EXPECT_TRUE(near(there, y, type == DType::F32 ? 1e-5 : 1e-13)) << n << " x " << c;
        double wanted = 0;  // of the first row
        for (int64_t j = 0; n && j < c; ++j)
          if (const double q = p.to(DType::F64).data<double>()[j]; q > 0) wanted -= q * std::log(q);
        if (n > 0) {
          EXPECT_NEAR(y.to(DType::F64).data<double>()[0], wanted, 1e-4);
        }
      }
}

// One gate on the scores z, then a plan with drops, weights, balance loss and the gradient of the scores.
struct Pass {
  Tensor expert, order, weight, loss, gradient;
  double entropy;
};
Pass pass_on(Device device, const Tensor& z, const GateOptions& options, ForwardContext ctx) {
  const int64_t S = z.dim(0), E = z.dim(1);
  ctx.training = true;
  const Var scores(z.to(device), true);
  Tensor padding = Tensor::zeros({S}, DType::U8);
  if (S > 5) padding.data<uint8_t>()[5] = 1;
  const Routed r = top_k_gate(scores, 0, options, padding, consecutive(S), ctx);
  EXPECT_EQ(r.routing.gate.data().device(), device);
  const Var weight = combine_weights(r.routing, make_plan(r.routing, E, 1 + S / E));
  const Var loss = balance_loss(r, S + 2);
  Tensor ones = Tensor::full(weight.shape(), 1, z.dtype());
  for (int64_t i = 1; i < ones.numel(); i += 3) ones.data<float>()[i] = -2;
  backward({weight, loss}, {ones.to(device), Tensor()});
  return {r.routing.expert, r.routing.order, weight.data(), loss.data(), scores.grad(), r.entropy};
}
void expect_equal(const Pass& got, const Pass& wanted) {
  EXPECT_EQ(got.expert.to_vector<int64_t>(), wanted.expert.to_vector<int64_t>());
  EXPECT_EQ(got.order.to_vector<int64_t>(), wanted.order.to_vector<int64_t>());
  EXPECT_TRUE(near(got.weight, wanted.weight, 1e-5));
  EXPECT_TRUE(near(got.loss, wanted.loss, 1e-5));
  EXPECT_TRUE(near(got.gradient, wanted.gradient, 1e-5));
}

TEST(CudaGate, DecidesAsOnTheCpu) {
  for (const int64_t S : {0, 1, 90})
    for (const std::string policy : {"all", "sampling", "random"})
      for (const bool top1 : {false, true}) {
        SCOPED_TRACE(concat(S, " rows, ", policy, top1 ? ", top 1" : ""));
        const Tensor z = fresh_tensor({S, 6}, DType::F32);
        const GateOptions options{.top1 = top1,
                                  .policy = policy,
                                  .normalize_before_drop = !top1 && S == 1,
                                  .by_priority = !top1};
        InjectedDraws draws{{"gumbel", fresh_tensor({S, 6}, DType::F64)}};
        for (const bool injected : {false, true}) {
          ForwardContext ctx;
          if (injected) ctx.injected = &draws;
          const Pass cpu = pass_on(Device::CPU, z, options, ctx),
                     gpu = pass_on(Device::CUDA, z, options, ctx);
          expect_equal(gpu, cpu);
          EXPECT_NEAR(gpu.entropy, cpu.entropy, 1e-5 * cpu.entropy);
        }
      }
}

TEST(CudaGate, ReplaysItsDecisions) {
  const Tensor z = fresh_tensor({70, 6}, DType::F32);
  DecisionRecorder recorder;
  ForwardContext ctx;
  ctx.recorder = &recorder;
  const Pass first = pass_on(Device::CUDA, z, {}, ctx);
  recorder.replaying = true;
  const Pass again = pass_on(Device::CUDA, z, {}, ctx);
  EXPECT_GT(first.entropy, 0);
  EXPECT_EQ(again.entropy, 0);  // nothing was read
  EXPECT_EQ(again.expert.to_vector<int64_t>(), first.expert.to_vector<int64_t>());
  EXPECT_TRUE(same_bits_on_gpu(again.weight, first.weight));
  EXPECT_TRUE(same_bits_on_gpu(again.gradient, first.gradient));
}

}  // namespace
}  // namespace switchyard::moe
