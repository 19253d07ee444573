// Every kernel gives the same bits with 1, 2 and 3 threads, and accepts tensors without rows.
#include <gtest/gtest.h>

#include <functional>

#include "tests/tensor/random_tensor.h"

namespace switchyard {
namespace {

Tensor indices(int64_t n, int64_t below, int64_t lowest = 0) {
  Tensor t = Tensor::empty({n}, DType::I64);
  for (int64_t i = 0; i < n; ++i)
    t.data<int64_t>()[i] = lowest + (i * 7919 + i / 3) % std::max<int64_t>(below - lowest, 1);
  return t;
}

struct Kernel {
  const char* name;
  std::function<std::vector<Tensor>(int64_t n)> run;  // n rows -> outputs
};
void PrintTo(const Kernel& k, std::ostream* out) { *out << k.name; }

constexpr int64_t C = 130;  // columns
Tensor in(int64_t n, int id = 1) { return random_tensor({n, C}, uint64_t(id)); }
Tensor out(int64_t n) { return Tensor::full({n, C}, 0.5); }
using Out = std::vector<Tensor>;
const RandomStream kStream = random_stream(1, "bits");

template <class F>
Kernel unary(const char* name, F f) {
  return {name, [f](int64_t n) {
            Tensor y = out(n);
            f(in(n), y);
            return Out{y};
          }};
}
template <class F>
Kernel per_row(const char* name, DType type, F f) {
  return {name, [=](int64_t n) {
            Tensor y = Tensor::zeros({n}, type);
            f(n, y);
            return Out{y};
          }};
}

Out attention_both(int64_t n) {
  const AttentionSpec spec{n / 10, 10, 13, 2, true, 0.1, 0.2};
  const Tensor q = in(spec.batch * 10, 1), k = in(spec.batch * 13, 2), v = in(spec.batch * 13, 3);
  const Tensor bias = random_tensor({2, 10, 13}, 4);
  Tensor y = empty_like(q), probs = Tensor::empty({spec.batch, 2, 10, 13});
  attention_forward(q, k, v, Tensor(), bias, spec, kStream, y, probs);
  Tensor dq = empty_like(q), dk = empty_like(k), dv = empty_like(v), dbias = empty_like(bias), none;
  attention_backward(q, k, v, Tensor(), probs, y, spec, kStream, y, dq, dk, dv, dbias);
  Tensor eq = empty_like(q), ek = empty_like(k), ev = empty_like(v);
  attention_backward(q, k, v, Tensor(), probs, y, spec, kStream, y, eq, ek, ev, none);
  return {y, probs, dq, dk, dv, dbias, eq, ek, ev};
}
Out layer_norm_both(int64_t n) {
  const Tensor x = in(n), w = in(1, 2), b = in(1, 3);
  Tensor y = out(n), mean = Tensor::empty({n}), rstd = Tensor::empty({n});
  layer_norm_forward(x, w, b, 1e-5, y, mean, rstd);
  Tensor dx = out(n), dw = in(1, 4), db = in(1, 5);
  layer_norm_backward(x, w, mean, rstd, y, dx, dw, db);
  return {y, mean, rstd, dx, dw, db};
}
Out cross_entropy_both(int64_t n) {
  const Tensor x = in(n), target = indices(n, C);
  Tensor loss = Tensor::empty({n}), nll = Tensor::empty({n}), lse = Tensor::empty({n}), dx = out(n);
  cross_entropy_forward(x, target, 3, 0.1, loss, nll, lse);
  cross_entropy_backward(x, target, 3, 0.1, lse, loss, dx);
  return {loss, nll, lse, dx};
}
Out combine_both(int64_t n) {
  Tensor offsets = Tensor::empty({n + 1}, DType::I64), at = Tensor::empty({2 * n}, DType::I64);
  for (int64_t i = 0; i <= n; ++i) offsets.data<int64_t>()[i] = 2 * i;
  for (int64_t i = 0; i < 2 * n; ++i) at.data<int64_t>()[i] = i % 5 ? 2 * n - 1 - i : -1;
  const Tensor rows = in(2 * n), weight = random_tensor({2 * n}, 2), dy = in(n, 3);
  Tensor y = out(n), drows = out(2 * n), dweight = Tensor::empty({2 * n});
  combine_forward(rows, offsets, at, weight, y);
  combine_backward(dy, rows, offsets, at, weight, drows, dweight);
  return {y, drows, dweight};
}
Out grouped_all(int64_t n) {
  const Tensor offsets = Tensor::of<int64_t>({0, n / 3, n / 3, n}), x = in(n),
               dy = random_tensor({n, 40}, 2);
  const Tensor w = random_tensor({3, 40, C}, 3), bias = random_tensor({3, 40}, 4);
  Tensor y = Tensor::empty({n, 40}), dw = empty_like(w), db = empty_like(bias);
  grouped_matmul(x, offsets, w, true, bias, y);
  grouped_matmul_dw(dy, x, offsets, dw);
  grouped_sum_rows(dy, offsets, db);
  return {y, dw, db};
}
Out one_group(int64_t n) {
  const Tensor x = in(n), w = random_tensor({70, C}, 2), bias = random_tensor({70}, 3);
  const Tensor offsets = Tensor::of<int64_t>({0, n});
  Tensor y = Tensor::empty({n, 70}), dx = out(n), dw = out(70), db = empty_like(bias);
  grouped_matmul(x, offsets, w, true, bias, y);
  grouped_matmul(y, offsets, w, false, Tensor(), dx);
  grouped_matmul_dw(y, x, offsets, dw);
  grouped_sum_rows(y, offsets, db);
  return {y, dx, dw, db};
}
Out adam_all(int64_t n) {
  Tensor p = in(n, 1), m = in(n, 2), v = in(n, 3);
  multiply(v, v, v);
  const AdamSpec spec{0.1, 0.9, 0.98, 1e-8, 0.01, true, 2, 0.5};
  adam_step(in(n, 4), spec, p, m, v);
  return {p, m, v};
}

const Kernel kKernels[] = {
    unary("convert", [](const Tensor& x, Tensor& y) { convert(x, y); }),
    unary("fill", [](const Tensor&, Tensor& y) { fill(2.0, y); }),
    unary("uniform", [](const Tensor&, Tensor& y) { random_uniform(kStream, 3, -1.0, 1.0, y); }),
    unary("normal", [](const Tensor&, Tensor& y) { random_normal(kStream, 3, 1.0, y); }),
    unary("gumbel", [](const Tensor&, Tensor& y) { random_gumbel(kStream, Tensor(), y); }),
    unary("gumbel_rows",
          [](const Tensor&, Tensor& y) { random_gumbel(kStream, indices(y.dim(0), 99), y); }),
    unary("dropout", [](const Tensor& x, Tensor& y) { dropout(x, Tensor(), kStream, 0.3, y); }),
    unary("add", [](const Tensor& x, Tensor& y) { add(x, x, y); }),
    unary("multiply", [](const Tensor& x, Tensor& y) { multiply(x, x, y); }),
    unary("scale", [](const Tensor& x, Tensor& y) { scale(3.0, x, y); }),
    unary("axpy", [](const Tensor& x, Tensor& y) { axpy(3.0, x, y); }),
    unary("scale_rows",
          [](const Tensor& x, Tensor& y) { scale_rows(x, random_tensor({x.dim(0)}, 2), y); }),
    unary("relu", [](const Tensor& x, Tensor& y) { relu_forward(x, y); }),
    unary("gelu", [](const Tensor& x, Tensor& y) { gelu_forward(x, y); }),
    unary("gelu_backward", [](const Tensor& x, Tensor& y) { gelu_backward(x, x, x, y); }),
    unary("sigmoid", [](const Tensor& x, Tensor& y) { sigmoid_forward(x, y); }),
    unary("softmax", [](const Tensor& x, Tensor& y) { softmax_forward(x, y); }),
    unary("softmax_backward", [](const Tensor& x, Tensor& y) { softmax_backward(x, x, y); }),
    unary("log_softmax", [](const Tensor& x, Tensor& y) { log_softmax_forward(x, y); }),
    unary("gather_rows",
          [](const Tensor& x, Tensor& y) {
            if (x.dim(0)) gather_rows(x, indices(x.dim(0), x.dim(0), -1), y);
          }),
    per_row("row_dot", DType::F32, [](int64_t n, Tensor& y) { row_dot(in(n), in(n, 2), y); }),
    per_row("argmax_rows", DType::I64, [](int64_t n, Tensor& y) { argmax_rows(in(n), y); }),
    {"sum_all",
     [](int64_t n) {
       Tensor y = Tensor::empty({1}, DType::F64);
       sum_all(in(n), y);
       Tensor blocks = Tensor::empty({(n * C + 4095) / 4096}, DType::F64);
       squared_norm_blocks(in(n), blocks);
       return Out{y, blocks};
     }},
    {"scatter_add_rows",
     [](int64_t n) {
       Tensor y = out(17);
       scatter_add_rows(in(n), indices(n, 17, -1), y);
       return Out{y};
     }},
    {"attention", attention_both},
    {"layer_norm", layer_norm_both},
    {"cross_entropy", cross_entropy_both},
    {"combine", combine_both},
    {"grouped", grouped_all},
    {"one_group", one_group},
    {"adam", adam_all},
};

class SameBits : public testing::TestWithParam<Kernel> {};

TEST_P(SameBits, AtAnyNumberOfThreads) {
  for (int64_t n : {1, 20, 700}) {
    const Out one = GetParam().run(n);
    for (int threads : {2, 3}) {
      set_num_threads(threads);
      const Out more = GetParam().run(n);
      set_num_threads(1);
      for (size_t i = 0; i < one.size(); ++i)
        EXPECT_TRUE(same_bits(one[i], more[i]))
            << "output " << i << ", " << n << " rows, " << threads;
    }
  }
}

TEST_P(SameBits, WithoutRows) {
  for (const Tensor& t : GetParam().run(0))
    for (double v : t.to(DType::F64).to_vector<double>()) EXPECT_TRUE(std::isfinite(v));
}

INSTANTIATE_TEST_SUITE_P(Kernels, SameBits, testing::ValuesIn(kKernels),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace switchyard
