// Speed of the kernels: matrix products against an FMA-peak probe, and the memory-bound kernels.
// build: cmake --build <dir> --target kernels; run: <dir>/kernels --benchmark_filter=...
#include <benchmark/benchmark.h>
#include <immintrin.h>

#include "tensor/kernels.h"
#include "tensor/parallel.h"

namespace switchyard {
namespace {

Tensor normal(Shape shape) {
  Tensor t = Tensor::empty(std::move(shape));
  random_normal(random_stream(1, "bench"), 0, 1.0, t);
  return t;
}
void report_flops(benchmark::State& state, double flops) {
  state.counters["flop/s"] =
      benchmark::Counter(flops, benchmark::Counter::kIsIterationInvariantRate);
}
void report_bytes(benchmark::State& state, double bytes) {
  state.counters["byte/s"] =
      benchmark::Counter(bytes, benchmark::Counter::kIsIterationInvariantRate);
}

// Twelve independent fma chains on registers: the AVX2 peak of the moment.
void fma_peak(benchmark::State& state) {
  const int threads = int(state.range(0));
  set_num_threads(threads);
  for (auto _ : state) {
    parallel_for(threads, 1, [](int64_t, int64_t) {
      __m256 x[12];
      for (auto& v : x) v = _mm256_set1_ps(1.0f);
      __m256 a = _mm256_set1_ps(0.999f);
      for (int i = 0; i < 100000; ++i) {
#pragma GCC unroll 12
        for (auto& v : x) v = _mm256_fmadd_ps(v, a, a);
        asm volatile("" : "+x"(a));
      }
      for (auto& v : x) benchmark::DoNotOptimize(v);
    });
  }
  report_flops(state, 100000.0 * 12 * 8 * 2 * threads);
}
BENCHMARK(fma_peak)->Arg(1)->Arg(2)->UseRealTime();

// transpose: 0 NN, 1 NT (forward of a linear layer), 2 TN (weight gradient)
void product(benchmark::State& state) {
  const int64_t m = state.range(0), n = state.range(1), k = state.range(2), kind = state.range(3);
  set_num_threads(int(state.range(4)));
  const Tensor a = kind == 2 ? normal({k, m}) : normal({m, k}),
               b = kind == 1 ? normal({n, k}) : normal({k, n});
  Tensor c = Tensor::empty({m, n});
  const Tensor one_group = Tensor::of<int64_t>({0, a.dim(0)});
  for (auto _ : state)
    if (kind == 2) grouped_matmul_dw(a, b, one_group, c);
    else grouped_matmul(a, one_group, b, kind == 1, Tensor(), c);
  report_flops(state, 2.0 * double(m) * double(n) * double(k));
}
void product_shapes(benchmark::internal::Benchmark* b) {
  for (int threads : {1, 2}) {
    b->Args({4096, 256, 256, 1, threads})->Args({512, 1024, 1024, 1, threads});
    b->Args({512, 1024, 1024, 0, threads})->Args({2048, 1024, 1024, 1, threads});
    b->Args({256, 1024, 4096, 2, threads})->Args({4096, 8000, 256, 1, threads});
    b->Args({32, 1024, 1024, 1, threads})->Args({64, 64, 64, 0, threads});
  }
}
BENCHMARK(product)->Apply(product_shapes)->UseRealTime();

void grouped_product(benchmark::State& state) {
  const int64_t groups = state.range(0), rows = state.range(1), m = state.range(2),
                k = state.range(3);
  set_num_threads(int(state.range(4)));
  std::vector<int64_t> offsets(groups + 1);
  for (int64_t g = 0; g <= groups; ++g) offsets[g] = g * rows;
  const Tensor o = Tensor::of(offsets), x = normal({groups * rows, k}), w = normal({groups, m, k});
  Tensor y = Tensor::empty({groups * rows, m});
  for (auto _ : state) grouped_matmul(x, o, w, true, Tensor(), y);
  report_flops(state, 2.0 * double(groups * rows) * double(m) * double(k));
}
BENCHMARK(grouped_product)
    ->Args({8, 256, 2048, 512, 1})
    ->Args({8, 256, 2048, 512, 2})
    ->Args({32, 64, 1024, 256, 1})
    ->Args({32, 64, 1024, 256, 2})
    ->UseRealTime();

void norm_forward(benchmark::State& state) {
  const int64_t n = 4096, c = state.range(0);
  set_num_threads(2);
  const Tensor x = normal({n, c}), w = normal({c}), b = normal({c});
  Tensor y = empty_like(x), mean = Tensor::empty({n}), rstd = Tensor::empty({n});
  for (auto _ : state) layer_norm_forward(x, w, b, 1e-5, y, mean, rstd);
  report_bytes(state, 8.0 * double(n * c));
}
void norm_backward(benchmark::State& state) {
  const int64_t n = 4096, c = state.range(0);
  set_num_threads(2);
  const Tensor x = normal({n, c}), w = normal({c}), dy = normal({n, c}), s = Tensor::full({n}, 1.0);
  Tensor dx = empty_like(x), dw = Tensor::empty({c}), db = Tensor::empty({c});
  for (auto _ : state) layer_norm_backward(x, w, s, s, dy, dx, dw, db);
  report_bytes(state, 12.0 * double(n * c));
}
BENCHMARK(norm_forward)->Arg(256)->Arg(1024)->UseRealTime();
BENCHMARK(norm_backward)->Arg(256)->Arg(1024)->UseRealTime();

void softmax(benchmark::State& state) {
  set_num_threads(2);
  const Tensor x = normal({1024, state.range(0)});
  Tensor y = empty_like(x);
  for (auto _ : state) softmax_forward(x, y);
  report_bytes(state, 8.0 * double(x.numel()));
}
BENCHMARK(softmax)->Arg(64)->Arg(8000)->UseRealTime();

void cross_entropy(benchmark::State& state) {
  set_num_threads(2);
  const int64_t n = 1024, c = 8000;
  const Tensor x = normal({n, c}), target = Tensor::full({n}, 7, DType::I64);
  Tensor loss = Tensor::empty({n}), nll = Tensor::empty({n}), lse = Tensor::empty({n}),
         dx = empty_like(x);
  for (auto _ : state) {
    cross_entropy_forward(x, target, -1, 0.1, loss, nll, lse);
    cross_entropy_backward(x, target, -1, 0.1, lse, loss, dx);
  }
  report_bytes(state, 12.0 * double(n * c));
}
BENCHMARK(cross_entropy)->UseRealTime();

void attention(benchmark::State& state) {
  const int64_t B = state.range(0), T = state.range(1), H = 4, D = 64;
  set_num_threads(2);
  const AttentionSpec spec{B, T, T, H, true, 0.125, double(state.range(2)) / 10};
  const Tensor q = normal({B * T, H * D}), k = normal({B * T, H * D}), v = normal({B * T, H * D});
  Tensor y = empty_like(q), probs = Tensor::empty({B, H, T, T}), none;
  Tensor dq = empty_like(q), dk = empty_like(q), dv = empty_like(q);
  for (auto _ : state) {
    attention_forward(q, k, v, Tensor(), Tensor(), spec, RandomStream(), y, probs);
    attention_backward(q, k, v, Tensor(), probs, y, spec, RandomStream(), y, dq, dk, dv, none);
  }
  report_flops(state, 12.0 * double(B * H * T * T * D));
}
BENCHMARK(attention)->Args({128, 32, 0})->Args({128, 32, 1})->Args({4, 256, 0})->UseRealTime();

void adam(benchmark::State& state) {
  set_num_threads(2);
  const int64_t n = state.range(0);
  const Tensor g = normal({n});
  Tensor p = normal({n}), m = Tensor::zeros({n}), v = Tensor::zeros({n});
  const AdamSpec spec{1e-3, 0.9, 0.98, 1e-8, 0, false, 1, 1.0};
  for (auto _ : state) adam_step(g, spec, p, m, v);
  report_bytes(state, 28.0 * double(n));
}
BENCHMARK(adam)->Arg(1 << 18)->Arg(1 << 24)->UseRealTime();

void elementwise(benchmark::State& state) {
  set_num_threads(2);
  const Tensor x = normal({4096, 1024});
  Tensor y = empty_like(x);
  const int64_t kind = state.range(0);
  for (auto _ : state) {
    if (kind == 0) add(x, x, y);
    if (kind == 1) gelu_forward(x, y);
    if (kind == 2) dropout(x, Tensor(), RandomStream(), 0.1, y);
    if (kind == 3) random_normal(RandomStream(), 0, 1.0, y);
  }
  state.SetLabel(std::vector<std::string>{"add", "gelu", "dropout", "normal"}[kind]);
  state.SetItemsProcessed(state.iterations() * x.numel());
}
BENCHMARK(elementwise)->DenseRange(0, 3)->UseRealTime();

}  // namespace
}  // namespace switchyard
