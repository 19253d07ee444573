// Matrix products and attention of the GPU against their CPU twins: every layout, groups with and without
// rows, odd sizes, all masks; everything twice with the same bits.
#include <thread>

#include "tensor/device.h"
#include "tests/cuda/compare.h"

namespace switchyard {
namespace {

double tolerance(DType t) { return t == DType::F64 ? 1e-12 : t == DType::F32 ? 1e-5 : 1e-2; }

struct Dims {
  std::vector<int64_t> offsets;
  int64_t k, m;
};
const Dims kDims[] = {
    {{0, 9}, 1, 1},
    {{0, 37}, 19, 23},  // nothing is a multiple of 8
    {{0, 64}, 48, 32},  // everything is
    {{0, 130}, 200, 72},
    {{0, 1}, 300, 129},  // one row
    {{0, 0}, 5, 3},      // no row
    {{0, 0, 0, 0}, 8, 8},
    {{0, 0, 5, 5, 6, 40, 40}, 33, 17},                    // groups without rows, at both ends too
    {{0, 3, 3, 20, 21, 21, 50, 64, 80, 80, 99}, 24, 16},  // more groups than streams
    {{0, 9}, 0, 4},                                       // nothing to sum: y is the bias
};

std::string name_of_case(const Dims& d, DType t) {
  return concat(d.offsets.back(), " rows in ", d.offsets.size() - 1, " groups, k ", d.k, ", m ",
                d.m, ", ", name_of(t));
}

TEST(CudaProducts, FollowTheCpu) {
  for (DType type : {DType::F32, DType::F64})
    for (const Dims& d : kDims)
      for (int flags = 0; flags < 4; ++flags) {
        const bool transpose = flags & 1, with_bias = flags & 2;
        const int64_t n = d.offsets.back(), groups = int64_t(d.offsets.size()) - 1;
        const Tensor offsets = Tensor::of(d.offsets), x = fresh_tensor({n, d.k}, type);
        const Tensor w =
            fresh_tensor(transpose ? Shape{groups, d.m, d.k} : Shape{groups, d.k, d.m}, type);
        const Tensor bias = with_bias ? fresh_tensor({groups, d.m}, type) : Tensor();
        SCOPED_TRACE(concat(name_of_case(d, type), ", flags ", flags));
        Tensor expected = Tensor::empty({n, d.m}, type);
        grouped_matmul(x, offsets, w, transpose, bias, expected);
        Tensor y = unwritten({n, d.m}, type), again = unwritten({n, d.m}, type);
        const Tensor gx = on_gpu(x), gw = on_gpu(w), gbias = on_gpu(bias);
        grouped_matmul(gx, offsets, gw, transpose, gbias, y);
        grouped_matmul(gx, on_gpu(offsets), gw, transpose, gbias, again);
        EXPECT_TRUE(near(y, expected, tolerance(type)));
        EXPECT_TRUE(same_bits_on_gpu(y, again));
      }
}

TEST(CudaProducts, WeightGradientsFollowTheCpu) {
  for (DType type : {DType::F32, DType::F64})
    for (const Dims& d : kDims) {
      SCOPED_TRACE(name_of_case(d, type));
      const int64_t n = d.offsets.back(), groups = int64_t(d.offsets.size()) - 1;
      const Tensor offsets = Tensor::of(d.offsets), x = fresh_tensor({n, d.k}, type),
                   dy = fresh_tensor({n, d.m}, type);
      Tensor expected = Tensor::empty({groups, d.m, d.k}, type);
      grouped_matmul_dw(dy, x, offsets, expected);
      const Tensor gx = on_gpu(x), gdy = on_gpu(dy);
      Tensor dw = unwritten({groups, d.m, d.k}, type), again = unwritten({groups, d.m, d.k}, type);
      grouped_matmul_dw(gdy, gx, offsets, dw);
      grouped_matmul_dw(gdy, gx, offsets, again);
      EXPECT_TRUE(near(dw, expected, tolerance(type)));
      EXPECT_TRUE(same_bits_on_gpu(dw, again));
    }
}

// The arithmetic is f32: against f32 products of the rounded inputs
TEST(CudaProducts, Bf16WithSumsInF32) {
  for (const Dims& d : kDims) {
    if (d.m == 1) continue;  // few sums: all may be small against what was rounded
    for (int flags = 0; flags < 4; ++flags) {
      const bool transpose = flags & 1, with_bias = flags & 2;
      SCOPED_TRACE(concat(name_of_case(d, DType::BF16), ", flags ", flags));
      const int64_t n = d.offsets.back(), groups = int64_t(d.offsets.size()) - 1;
      const Tensor offsets = Tensor::of(d.offsets);
      const auto rounded = [](Shape shape) {
        return fresh_tensor(std::move(shape), DType::BF16).to(DType::F32);
      };
      const auto as_bf16 = [](const Tensor& t) {
        return t.defined() ? on_gpu(t.to(DType::BF16)) : t;
      };
      const Tensor x = rounded({n, d.k}), dy = rounded({n, d.m});
      const Tensor w = rounded(transpose ? Shape{groups, d.m, d.k} : Shape{groups, d.k, d.m});
      const Tensor bias = with_bias ? rounded({groups, d.m}) : Tensor();
      Tensor expected = Tensor::empty({n, d.m}), y = unwritten({n, d.m}, DType::BF16);
      grouped_matmul(x, offsets, w, transpose, bias, expected);
      grouped_matmul(as_bf16(x), offsets, as_bf16(w), transpose, as_bf16(bias), y);
      // y is rounded to 8 bits, and so may be the sum before the bias.
      EXPECT_TRUE(near(y, expected, 4e-3));

      Tensor expected_dw = Tensor::empty({groups, d.m, d.k}),
             dw = unwritten(expected_dw.shape(), DType::F32);
      grouped_matmul_dw(dy, x, offsets, expected_dw);
      grouped_matmul_dw(as_bf16(dy), as_bf16(x), offsets, dw);
      EXPECT_TRUE(near(dw, expected_dw, 1e-5));
    }
  }
}

TEST(CudaProducts, AParameterMayLackTheDimensionOfGroups) {
  const Tensor offsets = Tensor::of<int64_t>({0, 6}), x = fresh_tensor({6, 5}, DType::F32);
  const Tensor w = fresh_tensor({3, 5}, DType::F32), bias = fresh_tensor({3}, DType::F32);
  Tensor expected = Tensor::empty({6, 3}), y = unwritten({6, 3}, DType::F32);
  grouped_matmul(x, offsets, w, true, bias, expected);
  grouped_matmul(on_gpu(x), offsets, on_gpu(w), true, on_gpu(bias), y);
  EXPECT_TRUE(near(y, expected, 1e-5));
}

// The same product at other addresses: an algorithm for aligned rows does not serve.
TEST(CudaProducts, AddressesMayBeUnaligned) {
  const Tensor offsets = Tensor::of<int64_t>({0, 8}), x = fresh_tensor({9, 5}, DType::F32);
  const Tensor w = fresh_tensor({8, 5}, DType::F32), gx = on_gpu(x), gw = on_gpu(w);
  for (int64_t first : {0, 1}) {
    Tensor expected = Tensor::empty({8, 8}), y = unwritten({8, 8}, DType::F32);
    grouped_matmul(x.slice(first, first + 8), offsets, w, true, Tensor(), expected);
    grouped_matmul(gx.slice(first, first + 8), offsets, gw, true, Tensor(), y);
    EXPECT_TRUE(near(y, expected, 1e-5));
  }
}

TEST(CudaProducts, MisfittingArgumentsAreErrors) {
  const auto zeros = [](Shape shape, DType type = DType::F32) {
    return Tensor::zeros(std::move(shape), type, Device::CUDA);
  };
  Tensor y = zeros({4, 2});
  const Tensor x = zeros({4, 3}), w = zeros({2, 2, 3}), o = Tensor::of<int64_t>({0, 1, 4});
  for (const std::vector<int64_t>& bad : {std::vector<int64_t>{0, 5, 4}, {0, 4}, {0, 1, 3}, {}})
    EXPECT_THROW(grouped_matmul(x, Tensor::of(bad), w, true, Tensor(), y), Error);
  EXPECT_THROW(grouped_matmul(x, o, w, false, Tensor(), y), Error);
  EXPECT_THROW(grouped_matmul(x, o, zeros({2, 2, 3}, DType::F64), true, Tensor(), y), Error);
  EXPECT_THROW(grouped_matmul(x, o, w, true, zeros({2, 2}, DType::F64), y), Error);
  EXPECT_THROW(grouped_matmul(Tensor::zeros({4, 3}), o, w, true, Tensor(), y), Error);
  Tensor dw = zeros({2, 3, 2});
  EXPECT_THROW(grouped_matmul_dw(y, x, o, dw), Error);
}

// Every rank is a thread with streams of its own; what it made outlives it.
TEST(CudaProducts, ThreadsDoNotShare) {
  const Tensor offsets = Tensor::of<int64_t>({0, 20, 30, 64, 70, 71});
  const Tensor x = fresh_tensor({71, 40}, DType::F32), w = fresh_tensor({5, 24, 40}, DType::F32);
  Tensor expected = Tensor::empty({71, 24});
  grouped_matmul(x, offsets, w, true, Tensor(), expected);
  Tensor y[3];
  std::vector<std::thread> ranks;
  for (Tensor& out : y)
    ranks.emplace_back([&] {
      cuda::use_device(0);
      out = unwritten({71, 24}, DType::F32);
      const Tensor gx = on_gpu(x), gw = on_gpu(w);
      for (int i = 0; i < 5; ++i) grouped_matmul(gx, offsets, gw, true, Tensor(), out);
      cuda::synchronize();
    });
  for (std::thread& t : ranks) t.join();
  for (const Tensor& out : y) {
    EXPECT_TRUE(near(out, expected, 1e-5));
    EXPECT_TRUE(same_bits_on_gpu(out, y[0]));
  }
}

// --- attention --------------------------------------------------------------------------------------------
struct Sizes {
  int64_t B, Tq, Tk, H, D;
};
const Sizes kSizes[] = {
    {3, 5, 5, 2, 8},    // fewer heads than sentences
    {2, 5, 40, 3, 16},  // more keys than a warp has threads
    {2, 6, 3, 3, 5},    // the first queries see no key when causal
    {1, 1, 70, 1, 4},  {2, 0, 3, 2, 4},
    {2, 3, 0, 2, 4},   {0, 3, 3, 2, 4},  // no query, no key, no sentence
};

void compare_attention(const Sizes& z, int flags, DType type) {
  const bool causal = flags & 1, with_padding = flags & 2, with_bias = flags & 4;
  const double dropout = flags & 8 ? 0.3 : 0;
  SCOPED_TRACE(concat("B ", z.B, ", Tq ", z.Tq, ", Tk ", z.Tk, ", H ", z.H, ", D ", z.D, ", flags ",
                      flags, ", ", name_of(type)));
  const AttentionSpec spec{z.B, z.Tq, z.Tk, z.H, causal, 0.4, dropout};
  const RandomStream r = random_stream(test_seed(), "attention");
  const int64_t width = z.H * z.D;
  const Tensor q = fresh_tensor({z.B * z.Tq, width}, type),
               k = fresh_tensor({z.B * z.Tk, width}, type);
  const Tensor v = fresh_tensor({z.B * z.Tk, width}, type), dy = fresh_tensor(q.shape(), type);
  const Tensor bias = with_bias ? fresh_tensor({z.H, z.Tq, z.Tk}, compute_type(type)) : Tensor();
  Tensor padding;
  if (with_padding) {  // sentence b lacks 2 b keys; the last has none at all
    padding = Tensor::zeros({z.B, z.Tk}, DType::U8);
    for (int64_t b = 0; b < z.B; ++b)
      for (int64_t j = b + 1 == z.B ? 0 : std::max<int64_t>(z.Tk - 2 * b, 0); j < z.Tk; ++j)
        padding.data<uint8_t>()[b * z.Tk + j] = 1;
  }
  Tensor y = empty_like(q), probs = Tensor::empty({z.B, z.H, z.Tq, z.Tk}, type);
  attention_forward(q, k, v, padding, bias, spec, r, y, probs);
  Tensor dq = empty_like(q), dk = empty_like(k), dv = empty_like(v);
  Tensor dbias = with_bias ? empty_like(bias) : Tensor();
  attention_backward(q, k, v, padding, probs, y, spec, r, dy, dq, dk, dv, dbias);

  const Tensor gq = on_gpu(q), gk = on_gpu(k), gv = on_gpu(v), gdy = on_gpu(dy),
               gbias = on_gpu(bias);
  std::vector<Tensor> runs[2];
  for (auto& out : runs) {
    for (const Tensor* t : {&y, &probs, &dq, &dk, &dv}) out.push_back(unwritten(t->shape(), type));
    if (with_bias) out.push_back(unwritten(bias.shape(), bias.dtype()));
    else out.emplace_back();
    attention_forward(gq, gk, gv, padding, gbias, spec, r, out[0], out[1]);
    attention_backward(gq, gk, gv, padding, out[1], out[0], spec, r, gdy, out[2], out[3], out[4],
                       out[5]);
  }
  const std::pair<const char*, const Tensor*> all[] = {
      {"y", &y}, {"probs", &probs}, {"dq", &dq}, {"dk", &dk}, {"dv", &dv}, {"dbias", &dbias}};
  for (size_t i = 0; i < 6; ++i) {
    if (!all[i].second->defined()) continue;
    EXPECT_TRUE(near(runs[0][i], *all[i].second, tolerance(type))) << all[i].first;
    EXPECT_TRUE(same_bits_on_gpu(runs[0][i], runs[1][i])) << all[i].first;
  }
}

TEST(CudaAttention, FollowsTheCpu) {
  for (DType type : {DType::F32, DType::F64, DType::BF16})
    for (const Sizes& z : kSizes) {
      const bool empty = z.B * z.Tq * z.Tk == 0;
      for (int flags = 0; flags < 16; flags += empty ? 15 : 1) compare_attention(z, flags, type);
    }
}

// A learnable bias is not the only one: its gradient may be left out.
TEST(CudaAttention, TheBiasMayNeedNoGradient) {
  const AttentionSpec spec{2, 4, 4, 2, true, 0.5, 0};
  const Tensor q = on_gpu(fresh_tensor({8, 6}, DType::F32));
  Tensor probs = on_gpu(Tensor::full({2, 2, 4, 4}, 0.25)), none;
  Tensor dq = unwritten({8, 6}, DType::F32), dk = unwritten({8, 6}, DType::F32),
         dv = unwritten({8, 6}, DType::F32);
  attention_backward(q, q, q, Tensor(), probs, q, spec, RandomStream(), q, dq, dk, dv, none);
  EXPECT_FALSE(none.defined());
  EXPECT_TRUE(near(dv, dv, 0));
}

TEST(CudaAttention, MisfittingArgumentsAreErrors) {
  const AttentionSpec spec{2, 4, 4, 2, true, 0.5, 0};
  const Tensor q = on_gpu(Tensor::zeros({8, 6})), k = on_gpu(Tensor::zeros({6, 6}));
  Tensor probs = unwritten({2, 2, 4, 4}, DType::F32), y = unwritten({8, 6}, DType::F32);
  EXPECT_THROW(attention_forward(q, k, k, Tensor(), Tensor(), spec, RandomStream(), y, probs),
               Error);
  EXPECT_THROW(attention_forward(q, q, Tensor::zeros({8, 6}), Tensor(), Tensor(), spec,
                                 RandomStream(), y, probs),
               Error);
}

}  // namespace
}  // namespace switchyard
