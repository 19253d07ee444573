// Every class of kernels at the sizes of a large model: see gpu_cases.h.
#include "bench/gpu_cases.h"

#include "tensor/cuda/cudnn_attention.h"
#include "tensor/cuda/grouped_gemm.h"

namespace switchyard::bench {
namespace {

// bytes: of a call for each element in f32; half of it in bf16
void elementwise_cases(Bench& b, DType t) {
  const int64_t n = b.dry ? 16 : 32768, c = b.dry ? 32 : 1024;
  const double N = double(n * c * size_of(t)) / 4;
  const std::string type = t == DType::F32 ? "" : concat(", ", name_of(t));
  const RandomStream r = random_stream(2, "bench");
  // y = f(x...) with some inputs of the same shape
  const auto unary = [&](std::string name, double bytes, auto f) {
    b.memory(name + type, bytes * N, [&b, n, c, f, t] {
      return [x = b.normal({n, c}, t), y = b.space({n, c}, t), f]() mutable { f(x, y); };
    });
  };
  const auto binary = [&](std::string name, double bytes, auto f) {
    b.memory(name + type, bytes * N, [&b, n, c, f, t] {
      return [x = b.normal({n, c}, t), z = b.normal({n, c}, t), y = b.normal({n, c}, t),
              f]() mutable { f(x, z, y); };
    });
  };
  // y has one element for each row
  const auto per_row = [&](std::string name, double bytes, DType out, auto f) {
    b.memory(name + type, bytes * N, [&b, n, c, f, out, t] {
      return [x = b.normal({n, c}, t), z = b.normal({n, c}, t), y = b.space({n}, out),
              f]() mutable { f(x, z, y); };
    });
  };
  unary("fill", 4, [](auto&, auto& y) { fill(1.5, y); });
  unary("dropout", 8, [r](auto& x, auto& y) { dropout(x, Tensor(), r, 0.1, y); });
  unary("scale", 8, [](auto& x, auto& y) { scale(1.5, x, y); });
  unary("axpy", 12, [](auto& x, auto& y) { axpy(1e-3, x, y); });
  binary("add", 12, [](auto& x, auto& z, auto& y) { add(x, z, y); });
  binary("multiply", 12, [](auto& x, auto& z, auto& y) { multiply(x, z, y); });
#define SWITCHYARD_BENCH_UNARY(name, Functor)                                 \
  unary(#name "_forward", 8, [](auto& x, auto& y) { name##_forward(x, y); }); \
  binary(#name "_backward", 16, [](auto& x, auto& z, auto& y) { name##_backward(x, x, z, y); });
  SWITCHYARD_UNARY_OPS(SWITCHYARD_BENCH_UNARY)
#undef SWITCHYARD_BENCH_UNARY
  per_row("row_dot", 8, DType::F32, [](auto& x, auto& z, auto& y) { row_dot(x, z, y); });
  per_row("argmax_rows", 4, DType::I64, [](auto& x, auto&, auto& y) { argmax_rows(x, y); });
  b.memory("scale_rows" + type, 8 * N, [&b, n, c, t] {
    return [x = b.normal({n, c}, t), s = b.normal({n}), y = b.space({n, c}, t)]() mutable {
      scale_rows(x, s, y);
    };
  });
  b.memory("sum_all" + type, 4 * N, [&b, n, c, t] {
    return [x = b.normal({n, c}, t), y = b.space({1}, DType::F64)]() mutable { sum_all(x, y); };
  });
  if (t != DType::F32) return;
  b.memory("convert f32 bf16", 6 * N, [&b, n, c] {
    return [x = b.normal({n, c}), y = b.space({n, c}, DType::BF16)]() mutable { convert(x, y); };
  });
  unary("convert f32 f32", 8, [](auto& x, auto& y) { convert(x, y); });
  unary("random_uniform", 4, [r](auto&, auto& y) { random_uniform(r, 0, 0.0, 1.0, y); });
  unary("random_normal", 4, [r](auto&, auto& y) { random_normal(r, 0, 1.0, y); });
  unary("random_gumbel", 4, [r](auto&, auto& y) { random_gumbel(r, Tensor(), y); });
  b.memory("squared_norm_blocks", 4 * N, [&b, n, c] {
    return [x = b.normal({n, c}), y = b.space({(n * c + 4095) / 4096}, DType::F64)]() mutable {
      squared_norm_blocks(x, y);
    };
  });
  b.memory("adam_step", 28 * N, [&b, n, c] {
    return [g = b.normal({n * c}), p = b.normal({n * c}), m = b.normal({n * c}),
            v = Tensor::zeros({n * c}, DType::F32, b.device)]() mutable {
      adam_step(g, AdamSpec{1e-3, 0.9, 0.98, 1e-8, 0, false, 1, 1.0}, p, m, v);
    };
  });
}

void row_cases(Bench& b, DType t) {
  const int64_t n = b.dry ? 16 : 32768, c = b.dry ? 32 : 1024, k = 2;
  const double N = double(n * c * size_of(t)) / 4;
  const std::string type = t == DType::F32 ? "" : concat(", ", name_of(t));
  b.memory("layer_norm_forward" + type, 8 * N, [&b, n, c, t] {
    return [x = b.normal({n, c}, t), w = b.normal({c}), z = b.normal({c}), y = b.space({n, c}, t),
            mean = b.space({n}),
            rstd = b.space({n})]() mutable { layer_norm_forward(x, w, z, 1e-5, y, mean, rstd); };
  });
  b.memory("layer_norm_backward" + type, 12 * N, [&b, n, c, t] {
    return [x = b.normal({n, c}, t), w = b.normal({c}),
            s = Tensor::full({n}, 1.0, DType::F32, b.device), dy = b.normal({n, c}, t),
            dx = b.space({n, c}, t), dw = b.space({c}),
            db = b.space({c})]() mutable { layer_norm_backward(x, w, s, s, dy, dx, dw, db); };
  });
  b.memory("softmax_forward" + type, 8 * N, [&b, n, c, t] {
    return [x = b.normal({n, c}, t), y = b.space({n, c}, t)]() mutable { softmax_forward(x, y); };
  });
  b.memory("softmax_backward" + type, 12 * N, [&b, n, c, t] {
    return [y = b.normal({n, c}, t), dy = b.normal({n, c}, t), dx = b.space({n, c}, t)]() mutable {
      softmax_backward(y, dy, dx);
    };
  });
  b.memory("log_softmax_forward" + type, 8 * N, [&b, n, c, t] {
    return
        [x = b.normal({n, c}, t), y = b.space({n, c}, t)]() mutable { log_softmax_forward(x, y); };
  });
  b.memory("softmax_forward, 64 experts" + type, double(2 * n * 64 * size_of(t)), [&b, n, t] {
    return [x = b.normal({n, 64}, t), y = b.space({n, 64}, t)]() mutable { softmax_forward(x, y); };
  });
  const auto shuffled = [n](int64_t i) { return i * 40503 % n; };  // odd: a permutation of 2^k rows
  b.memory("gather_rows" + type, 8 * N, [&b, n, c, t, shuffled] {
    return [x = b.normal({n, c}, t), i = b.ints(shuffled, n), y = b.space({n, c}, t)]() mutable {
      gather_rows(x, i, y);
    };
  });
  b.memory("scatter_add_rows" + type, 12 * N, [&b, n, c, t, shuffled] {
    return [x = b.normal({n, c}, t), i = b.ints(shuffled, n), y = b.normal({n, c}, t)]() mutable {
      scatter_add_rows(x, i, y);
    };
  });
  // n rows of n / 2 tokens with two choices each
  b.memory("combine_forward, k=2" + type, 6 * N, [&b, n, c, k, t, shuffled] {
    return [rows = b.normal({n, c}, t), o = b.ints([k](int64_t i) { return k * i; }, n / k + 1),
            p = b.ints(shuffled, n), w = b.normal({n}),
            y = b.space({n / k, c}, t)]() mutable { combine_forward(rows, o, p, w, y); };
  });
  b.memory("combine_backward, k=2" + type, 10 * N, [&b, n, c, k, t, shuffled] {
    return [dy = b.normal({n / k, c}, t), rows = b.normal({n, c}, t),
            o = b.ints([k](int64_t i) { return k * i; }, n / k + 1), p = b.ints(shuffled, n),
            w = b.normal({n}), dx = b.space({n, c}, t),
            dw = b.space({n})]() mutable { combine_backward(dy, rows, o, p, w, dx, dw); };
  });
  b.memory("grouped_sum_rows, 8 groups" + type, 4 * N, [&b, n, c, t] {
    return [x = b.normal({n, c}, t), o = Bench::even_offsets(8, n / 8),
            y = b.space({8, c})]() mutable { grouped_sum_rows(x, o, y); };
  });
  const int64_t rows = b.dry ? 8 : 8192, V = b.dry ? 50 : 32000;
  const auto target = [V](int64_t i) { return i * 7919 % V; };
  b.memory("cross_entropy_forward" + type, double(rows * V * size_of(t)), [&b, rows, V, target, t] {
    return [x = b.normal({rows, V}, t), t = b.ints(target, rows), loss = b.space({rows}),
            nll = b.space({rows}), lse = b.space({rows})]() mutable {
      cross_entropy_forward(x, t, -1, 0.1, loss, nll, lse);
    };
  });
  b.memory("cross_entropy_backward" + type, double(2 * rows * V * size_of(t)),
           [&b, rows, V, target, t] {
             return [x = b.normal({rows, V}, t), t = b.ints(target, rows), lse = b.normal({rows}),
                     dloss = b.normal({rows}), dx = b.space({rows, V}, t)]() mutable {
               cross_entropy_backward(x, t, -1, 0.1, lse, dloss, dx);
             };
           });
}

// R rows in groups of equal size, d -> h, and the gradients of input and weight
void product_cases(Bench& b, DType dtype, const std::string& what, int64_t groups, int64_t rows,
                   int64_t d, int64_t h) {
  const int64_t R = groups * rows;
  const double flops = 2.0 * double(R) * double(d) * double(h),
               bytes = double(size_of(dtype)) * double(R * d + R * h + groups * d * h);
  const std::string label = concat(name_of(dtype), " ", what);
  b.arithmetic("product forward, " + label, dtype, flops, bytes, [=, &b] {
    return [x = b.normal({R, d}, dtype), o = Bench::even_offsets(groups, rows),
            w = b.normal({groups, h, d}, dtype), bias = b.normal({groups, h}, dtype),
            y = b.space({R, h}, dtype)]() mutable { grouped_matmul(x, o, w, true, bias, y); };
  });
  b.arithmetic("product dx, " + label, dtype, flops, bytes, [=, &b] {
    return [dy = b.normal({R, h}, dtype), o = Bench::even_offsets(groups, rows),
            w = b.normal({groups, h, d}, dtype), dx = b.space({R, d}, dtype)]() mutable {
      grouped_matmul(dy, o, w, false, Tensor(), dx);
    };
  });
  b.arithmetic("product dw, " + label, dtype, flops, bytes, [=, &b] {
    return [dy = b.normal({R, h}, dtype), x = b.normal({R, d}, dtype),
            o = Bench::even_offsets(groups, rows),
            dw = b.space({groups, h, d}, dtype)]() mutable { grouped_matmul_dw(dy, x, o, dw); };
  });
}

// The same in bf16 by the kernels of grouped_gemm.h
void grouped_cases(Bench& b, cuda::GroupedKind kind, const std::string& what, int64_t groups,
                   int64_t rows, int64_t d, int64_t h) {
  const cuda::GroupedChoice choice = {kind};
  const DType bf16 = DType::BF16;
  const int64_t R = groups * rows;
  const double flops = 2.0 * double(R) * double(d) * double(h),
               bytes = 2.0 * double(R * d + R * h + groups * d * h);
  const std::string label = concat(kind == cuda::GroupedKind::Wgmma ? "wgmma " : "mma ", what);
  const auto offsets = [=, &b] { return Bench::even_offsets(groups, rows).to(b.device); };
  b.arithmetic("grouped forward, " + label, bf16, flops, bytes, [=, &b] {
    return [=, x = b.normal({R, d}, bf16), o = offsets(), w = b.normal({groups, h, d}, bf16),
            bias = b.normal({groups, h}), y = b.space({R, h}, bf16)]() mutable {
      cuda::grouped_mma(x, o, w, true, bias, y, choice);
    };
  });
  b.arithmetic("grouped dx, " + label, bf16, flops, bytes, [=, &b] {
    return [=, dy = b.normal({R, h}, bf16), o = offsets(), w = b.normal({groups, h, d}, bf16),
            dx = b.space({R, d}, bf16)]() mutable {
      cuda::grouped_mma(dy, o, w, false, Tensor(), dx, choice);
    };
  });
  b.arithmetic("grouped dw, " + label, bf16, flops, bytes, [=, &b] {
    return [=, dy = b.normal({R, h}, bf16), x = b.normal({R, d}, bf16), o = offsets(),
            dw = b.space({groups, h, d}, bf16)]() mutable {
      cuda::grouped_mma_dw(dy, x, o, dw, choice);
    };
  });
}

void attention_cases(Bench& b, int64_t B, int64_t T, int64_t H, int64_t D) {
  const AttentionSpec s{B, T, T, H, false, 0.125, 0.0};
  const int64_t W = H * D;
  const double flops = 4.0 * double(B * H * T * T * D),
               bytes = 4.0 * double(B * H * T * T + 4 * B * T * W);
  const std::string shape = concat(", f32 T=", T, " D=", D);
  b.arithmetic("attention_forward" + shape, DType::F32, flops, bytes, [=, &b] {
    return [=, q = b.normal({B * T, W}), k = b.normal({B * T, W}), v = b.normal({B * T, W}),
            y = b.space({B * T, W}), P = b.space({B, H, T, T})]() mutable {
      attention_forward(q, k, v, Tensor(), Tensor(), s, RandomStream(), y, P);
    };
  });
  b.arithmetic("attention_backward" + shape, DType::F32, 2 * flops, 2 * bytes, [=, &b] {
    Tensor P = b.space({B, H, T, T});
    softmax_forward(b.normal({B, H, T, T}), P);
    return [=, q = b.normal({B * T, W}), k = b.normal({B * T, W}), v = b.normal({B * T, W}),
            y = b.normal({B * T, W}), dy = b.normal({B * T, W}), dq = b.space({B * T, W}),
            dk = b.space({B * T, W}), dv = b.space({B * T, W}), none = Tensor()]() mutable {
      attention_backward(q, k, v, Tensor(), P, y, s, RandomStream(), dy, dq, dk, dv, none);
    };
  });
}

// Causal: half of the products count. Backward is counted as 5 products where forward has 2.
void cudnn_cases(Bench& b, int64_t B, int64_t T, int64_t H, int64_t D) {
  const AttentionSpec s{B, T, T, H, true, 0.125, 0.0};
  const int64_t W = H * D;
  const double flops = 2.0 * double(B * H * T * T * D), bytes = 2.0 * double(4 * B * T * W);
  const auto rows = [=, &b] { return b.normal({B * T, W}, DType::BF16); };
  const std::string shape = concat(", causal bf16 T=", T, " D=", D);
  b.arithmetic("cudnn_attention_forward" + shape, DType::BF16, flops, bytes, [=, &b] {
    return
        [=, q = rows(), k = rows(), v = rows(), y = rows(), stats = b.space({B, H, T})]() mutable {
          cuda::cudnn_attention_forward(q, k, v, Tensor(), s, y, stats);
        };
  });
  for (const bool deterministic : {false, true})
    b.arithmetic(
        concat("cudnn_attention_backward", shape, deterministic ? " deterministic" : ""),
        DType::BF16, 2.5 * flops, 2 * bytes, [=, &b] {
          Tensor q = rows(), k = rows(), v = rows(), y = rows(), stats = b.space({B, H, T});
          cuda::cudnn_attention_forward(q, k, v, Tensor(), s, y, stats);
          return [=, dy = rows(), dq = rows(), dk = rows(), dv = rows()]() mutable {
            cuda::cudnn_attention_backward(q, k, v, Tensor(), y, stats, s, deterministic, dy, dq,
                                           dk, dv);
          };
        });
}

}  // namespace

void add_cases(Bench& b) {
  for (const DType t : {DType::F32, DType::BF16}) {
    elementwise_cases(b, t);
    row_cases(b, t);
  }
  const bool dry = b.dry;
  const std::vector<DType> types =
      dry ? std::vector{DType::F32} : std::vector{DType::F32, DType::BF16};
  for (const DType dtype : types) {
    const int64_t d = dry ? 8 : 1024, h = dry ? 16 : 4096;
    product_cases(b, dtype, "dense, 32k rows", 1, dry ? 64 : 32768, d, h);
    product_cases(b, dtype, "8 experts, 4k rows", 8, dry ? 8 : 4096, d, h);
    product_cases(b, dtype, "64 experts, 512 rows", dry ? 16 : 64, dry ? 4 : 512, d, h);
  }
  attention_cases(b, dry ? 1 : 4, dry ? 8 : 1024, dry ? 2 : 16, dry ? 4 : 64);
  if (dry) return;  // what follows has no twin on the CPU
  for (const auto kind : {cuda::GroupedKind::Mma, cuda::GroupedKind::Wgmma}) {
    if (kind == cuda::GroupedKind::Wgmma && !cuda::wgmma_available()) continue;
    grouped_cases(b, kind, "dense, 32k rows", 1, 32768, 1024, 4096);
    grouped_cases(b, kind, "8 experts, 4k rows", 8, 4096, 1024, 4096);
    grouped_cases(b, kind, "64 experts, 512 rows", 64, 512, 1024, 4096);
  }
  if (!cuda::cudnn_attention_available()) return;
  cudnn_cases(b, 8, 2048, 16, 64);
  cudnn_cases(b, 8, 2048, 8, 128);
}

}  // namespace switchyard::bench
