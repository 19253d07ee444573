// Speed of whole models and layers in mixed precision, on one rank:
//   GPT-2 of 124 M and 1.5 B parameters: an update of Adam; tokens/s and MFU
//   an MoE layer (16k tokens, top-2): forward + backward, beside a dense layer with the same FLOPs
//   bench_models [--dry] [--device auto|cpu|cuda] [--only PART]
// --dry: tiny sizes. MFU: FLOPs of a token = 6 parameters + 12 layers d T, against 989 TFLOP/s (H100, H200).
#include <chrono>
#include <cstdio>
#include <iostream>

#include "bench/main.h"
#include "dist/runtime.h"
#include "moe/balance.h"
#include "moe/moe_layer.h"
#include "nn/loss.h"
#include "nn/optimizer.h"
#include "nn/transformer.h"

namespace switchyard::bench {
namespace {

constexpr double kPeak = 989e12;  // FLOP/s

double seconds_of(const std::function<void()>& f, Device device) {
  if (device == Device::CUDA) cuda::synchronize();
  const auto begin = std::chrono::steady_clock::now();
  f();
  if (device == Device::CUDA) cuda::synchronize();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}
// The median of some runs after a few
double median_of(const std::function<void()>& f, Device device, int runs) {
  for (int i = 0; i < 3; ++i) f();
  std::vector<double> seconds;
  for (int i = 0; i < runs; ++i) seconds.push_back(seconds_of(f, device));
  std::nth_element(seconds.begin(), seconds.begin() + runs / 2, seconds.end());
  return seconds[size_t(runs) / 2];
}
void clear_gradients(Module& m) {
  for (const auto& [path, p] : parameters(m)) p->var.set_grad({});
}
Tensor normal(Shape shape, const char* name, Device device, DType type = DType::F32) {
  Tensor x = Tensor::empty(std::move(shape));
  random_normal(random_stream(1, name), 0, 1.0, x);
  return x.to(type).to(device);
}

// --- GPT-2 --------------------------------------------------------------------------------------------------------
struct GptSize {
  const char* name;
  int layers, width, heads;
  int64_t vocabulary, time, batch;
};

struct Gpt : Module {
  explicit Gpt(const GptSize& s)
      : embed(s.vocabulary, s.width, -1, DType::F32),
        positions(s.width, -1),
        stack(blocks(s), LayerNorm(s.width), false) {}
  static Stack::Blocks blocks(const GptSize& s) {
    Stack::Blocks all;
    for (int i = 0; i < s.layers; ++i) {
      all.emplace_back(
          i, std::make_unique<Residual<Attention>>(
                 "self_attn",
                 Attention({.keys = AttentionOptions::Earlier, .width = s.width, .heads = s.heads}),
                 LayerNorm(s.width), true, 0.0));
      all.emplace_back(i, std::make_unique<Residual<FeedForward>>(
                              "ffn", FeedForward({s.width, 4 * s.width, &gelu, 0, DType::F32}),
                              LayerNorm(s.width), true, 0.0));
    }
    return all;
  }
  Var loss(const Tensor& ids, const Tensor& target) {  // i64 [B, T]
    ForwardContext ctx;
    ctx.training = true;
    ctx.layout = {ids.dim(0), ids.dim(1), {}};
    const Var x = add(embed.forward(ids.reshape({ids.numel()})),
                      Var(positions.forward(ids, 0, embed.weight.var.data().device())));
    const Var logits = embed.project(stack.forward(cast(x, DType::BF16), {}, ctx));  // [B*T, V]
    return cross_entropy(logits, target.reshape({target.numel()}), -1, 0).loss;
  }
  void visit(ParamVisitor& v) override { v("embed", embed), v("stack", stack); }

  Embedding embed;
  SinusoidalPositions positions;
  Stack stack;
};

std::string name_of(const GptSize& s) { return s.name; }

void measure(const GptSize& s, const dist::Comm&, Device device, bool dry) {
  Gpt model(s);
  initialize(model, 1);
  move_to(model, device);
  OptimConfig config;
  config.lr = 1e-4;
  Optimizer adam(config);
  adam.set_parameters(parameters(model));
  std::vector<int64_t> words;
  for (int64_t i = 0; i < s.batch * s.time; ++i)
    words.push_back(
        int64_t(random_bits(random_stream(1, "ids"), uint64_t(i)) % uint64_t(s.vocabulary)));
  const Tensor ids = Tensor::of(words, {s.batch, s.time});
  const double tokens = double(ids.numel());
  const double seconds = median_of(
      [&] {
        backward(model.loss(ids, ids));
        adam.step(1e-4, 1 / tokens);
        clear_gradients(model);
      },
      device, dry ? 1 : 10);
  const double flops =
      6.0 * double(parameter_count(model)) + 12.0 * s.layers * s.width * double(s.time);
  std::printf("%-44s %9.1f ms %10.0f tokens/s  MFU %.1f %%  peak %lld MiB\n", s.name, seconds * 1e3,
              tokens / seconds, 100 * flops * tokens / seconds / kPeak,
              static_cast<long long>(memory_stats(device).peak_bytes >> 20));
}

// --- an MoE layer -------------------------------------------------------------------------------------------------
struct MoeSize {
  int64_t tokens, width, experts;
  bool skewed;  // the experts' shares follow Zipf's law
};

std::string name_of(const MoeSize& s) {
  return concat("MoE layer d ", s.width, ", ", s.experts, " experts", s.skewed ? ", skewed" : "");
}

void measure(const MoeSize& s, const dist::Comm& world, Device device, bool dry) {
  const FeedForwardOptions ffn{s.width, 4 * s.width, &gelu, 0, DType::F32};
  const int runs = dry ? 1 : 20;
  const DType bf16 = DType::BF16;
  // dense: the rows that the experts get, through one of them
  double dense;
  {
    FeedForward layer(ffn);
    initialize(layer, 1);
    move_to(layer, device);
    const Var x(normal({2 * s.tokens, s.width}, "x", device, bf16), true);
    const Tensor dy = normal({2 * s.tokens, s.width}, "dy", device, bf16);
    dense = median_of(
        [&] {
          ForwardContext ctx;
          backward({layer.forward(x, {}, ctx)}, {dy});
          clear_gradients(layer);
          Var(x).set_grad({});
        },
        device, runs);
  }
  moe::TopKGate gate(s.width, 0, s.experts, {.policy = "all", .fp32 = true}, DType::F32);
  moe::MoeLayer layer(dist::make_mesh(world, int(s.experts)), ffn, {});
  initialize(gate, 1), initialize(layer, 1);
  Tensor input = normal({s.tokens, s.width}, "x", Device::CPU);
  if (s.skewed) {  // a constant feature, and for it weights that add log(share) to the scores
    for (int64_t i = 0; i < s.tokens; ++i) input.data<float>()[i * s.width] = 1;
    for (int64_t e = 0; e < s.experts; ++e)
      gate.weight.var.data().data<float>()[e * s.width] = -std::log(float(e + 1));
  }
  move_to(gate, device), move_to(layer, device);
  const Var x(input.to(bf16).to(device), true);
  const Tensor dy = normal({s.tokens, s.width}, "dy", device, bf16);
  std::vector<int64_t> rows(size_t(s.tokens));
  std::iota(rows.begin(), rows.end(), 0);
  const Tensor token = Tensor::of(rows);
  int64_t fullest = 0;
  const double seconds = median_of(
      [&] {
        ForwardContext ctx;
        ctx.training = true;
        const moe::Routed routed = gate.route(x, token, ctx);
        const auto o = layer.run(x, routed.routing, 2 * s.tokens, token, ctx);
        const Var balance = scale(moe::balance_loss(routed, s.tokens), 0.01);
        fullest = std::ranges::max(o.plan.kept);
        backward({o.out, balance}, {dy, Tensor()});
        clear_gradients(gate), clear_gradients(layer);
        Var(x).set_grad({});
      },
      device, runs);
  const double flops = 48.0 * 2 * double(s.tokens * s.width * s.width);
  const std::string name = concat(name_of(s), ", fullest ", 100 * fullest / (2 * s.tokens), " %");
  std::printf("%-44s %9.2f ms %10.0f TFLOP/s  dense %.2f ms, ratio %.2f\n", name.c_str(),
              seconds * 1e3, flops / seconds / 1e12, dense * 1e3, seconds / dense);
}

int run(int argc, char** argv) {
  bool dry = false;
  std::string device = "auto", only;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--dry") dry = true;
    else if (word == "--device" && i + 1 < argc) device = argv[++i];
    else if (word == "--only" && i + 1 < argc) only = argv[++i];
    else throw UserError("usage: bench_models [--dry] [--device auto|cpu|cuda] [--only PART]");
  }
  // Each in a rank of its own, whose memory is counted anew.
  const auto measure_each = [&](const auto& sizes) {
    for (const auto& s : sizes)
      if (name_of(s).find(only) != std::string::npos)
        dist::run_ranks(
            1, [&](dist::Runtime& r) { measure(s, r.world, r.device, dry); }, 0, device);
  };
  dist::run_ranks(
      1, [](dist::Runtime& r) { std::cout << "device: " << device_name(r.device) << std::endl; }, 0,
      device);
  if (dry) {
    measure_each(std::vector<GptSize>{{"GPT tiny", 2, 32, 4, 64, 16, 2}});
    measure_each(std::vector<MoeSize>{{64, 32, 4, false}, {64, 32, 4, true}});
    return 0;
  }
  measure_each(
      std::vector<GptSize>{{"GPT-2 124M, T 1024, 64k tokens", 12, 768, 12, 50304, 1024, 64},
                           {"GPT-2 1.5B, T 1024, 8k tokens", 48, 1600, 25, 50304, 1024, 8}});
  std::vector<MoeSize> layers;
  for (const int64_t width : {1024, 2048})
    for (const int64_t experts : {8, 64})
      for (const bool skewed : {false, true}) layers.push_back({16384, width, experts, skewed});
  measure_each(layers);
  return 0;
}

}  // namespace
}  // namespace switchyard::bench

int main(int argc, char** argv) {
  return switchyard::bench::guarded(switchyard::bench::run, argc, argv);
}
