// Every kernel that takes bf16 against itself in f32, on the same values: its arithmetic is that of f32, so a
// result in bf16 is the rounded one, bit for bit, and a result in f32 is the same.
#include <gtest/gtest.h>

#include <functional>

#include "tests/tensor/random_tensor.h"

namespace switchyard {
namespace {

using Tensors = std::vector<Tensor>;

// Arguments of a kernel on n rows of c columns, one letter each. Lower case: bf16
//   m [n, c], w [3, 5, c] and v [3, c, 5], b [3, 5], y [n, 5]: matrices, and a product of three groups
//   R [n], C [c], W [3, 5, c], S [3, c]: f32;  D [1]: f64
//   I [n]: indices of rows or -1;  T [n]: indices of columns or -1;  A [n]: outputs
//   O [n+1], P [n]: choices of n tokens, up to two each, and their rows;  G [4]: offsets of three groups
Tensor argument(char letter, uint64_t id, int64_t n, int64_t c) {
  const auto random = [id](Shape shape, DType type) {
    return random_tensor(std::move(shape), id).to(type);
  };
  const auto integers = [](int64_t size, const std::function<int64_t(int64_t)>& f) {
    Tensor t = Tensor::empty({size}, DType::I64);
    for (int64_t i = 0; i < size; ++i) t.data<int64_t>()[i] = f(i);
    return t;
  };
  const RandomStream r = random_stream(id, "indices");
  const auto below = [r](int64_t i, int64_t size) {
    return random_bits(r, uint64_t(i)) % 8 ? int64_t(random_bits(r, uint64_t(i)) / 8) % size : -1;
  };
  switch (letter) {
    case 'm':
      return random({n, c}, DType::BF16);
    case 'w':
      return random({3, 5, c}, DType::BF16);
    case 'v':
      return random({3, c, 5}, DType::BF16);
    case 'b':
      return random({3, 5}, DType::BF16);
    case 'y':
      return random({n, 5}, DType::BF16);
    case 'R':
      return random({n}, DType::F32);
    case 'C':
      return random({c}, DType::F32);
    case 'W':
      return random({3, 5, c}, DType::F32);
    case 'S':
      return random({3, c}, DType::F32);
    case 'D':
      return random({1}, DType::F64);
    case 'I':
      return integers(n, [&](int64_t i) { return below(i, n); });
    case 'T':
      return integers(n, [&](int64_t i) { return below(i, c); });
    case 'A':
      return integers(n, [](int64_t) { return -1; });
    case 'O':
      return integers(n + 1, [n](int64_t s) { return std::min(n, 2 * s); });
    case 'P':
      return integers(n, [n](int64_t i) { return i % 5 == 4 ? -1 : n - 1 - i; });
    case 'G':
      return Tensor::of<int64_t>({0, n / 3, n / 3, n});
  }
  throw Error(concat("no argument ", letter));
}

struct Kernel {
  const char *name, *arguments;
  void (*call)(Tensors&);
};
const RandomStream kStream = random_stream(7, "draws");
const Kernel kKernels[] = {
    {"fill", "m", [](Tensors& t) { fill(0.3, t[0]); }},
    {"dropout", "mm", [](Tensors& t) { dropout(t[0], Tensor(), kStream, 0.3, t[1]); }},
    {"dropout_rows_in_place", "mI", [](Tensors& t) { dropout(t[0], t[1], kStream, 0.3, t[0]); }},
    {"add", "mmm", [](Tensors& t) { add(t[0], t[1], t[2]); }},
    {"add_in_place", "mm", [](Tensors& t) { add(t[0], t[1], t[1]); }},
    {"multiply", "mmm", [](Tensors& t) { multiply(t[0], t[1], t[2]); }},
    {"scale", "mm", [](Tensors& t) { scale(0.3, t[0], t[1]); }},
    {"axpy", "mm", [](Tensors& t) { axpy(-1.7, t[0], t[1]); }},
    {"scale_rows", "mRm", [](Tensors& t) { scale_rows(t[0], t[1], t[2]); }},
    {"row_dot", "mmR", [](Tensors& t) { row_dot(t[0], t[1], t[2]); }},
    {"row_entropy", "mR", [](Tensors& t) { row_entropy(t[0], t[1]); }},
    {"sum_all", "mD", [](Tensors& t) { sum_all(t[0], t[1]); }},
    {"argmax_rows", "mA", [](Tensors& t) { argmax_rows(t[0], t[1]); }},
#define SWITCHYARD_CASES(op, F)                                                             \
  {#op, "mm", [](Tensors& t) { op##_forward(t[0], t[1]); }},                                \
      {#op "_backward", "mmmm", [](Tensors& t) { op##_backward(t[0], t[1], t[2], t[3]); }}, \
      {#op "_backward_in_place", "mmm",                                                     \
       [](Tensors& t) { op##_backward(t[0], t[1], t[2], t[2]); }},
    SWITCHYARD_UNARY_OPS(SWITCHYARD_CASES){
        "layer_norm", "mCCmRR",
        [](Tensors& t) { layer_norm_forward(t[0], t[1], t[2], 1e-5, t[3], t[4], t[5]); }},
    {"layer_norm_backward", "mCRRmmCC",
     [](Tensors& t) { layer_norm_backward(t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7]); }},
    {"softmax", "mm", [](Tensors& t) { softmax_forward(t[0], t[1]); }},
    {"softmax_in_place", "m", [](Tensors& t) { softmax_forward(t[0], t[0]); }},
    {"softmax_backward", "mmm", [](Tensors& t) { softmax_backward(t[0], t[1], t[2]); }},
    {"log_softmax", "mm", [](Tensors& t) { log_softmax_forward(t[0], t[1]); }},
    {"cross_entropy", "mTRRR",
     [](Tensors& t) { cross_entropy_forward(t[0], t[1], -1, 0.1, t[2], t[3], t[4]); }},
    {"cross_entropy_backward_in_place", "mTRR",
     [](Tensors& t) { cross_entropy_backward(t[0], t[1], -1, 0.1, t[2], t[3], t[0]); }},
    {"gather_rows", "mIm", [](Tensors& t) { gather_rows(t[0], t[1], t[2]); }},
    {"scatter_add_rows", "mIm", [](Tensors& t) { scatter_add_rows(t[0], t[1], t[2]); }},
    {"combine", "mOPRm", [](Tensors& t) { combine_forward(t[0], t[1], t[2], t[3], t[4]); }},
    {"combine_backward", "mmOPRmR",
     [](Tensors& t) { combine_backward(t[0], t[1], t[2], t[3], t[4], t[5], t[6]); }},
    {"grouped_sum_rows", "mGS", [](Tensors& t) { grouped_sum_rows(t[0], t[1], t[2]); }},
    {"grouped_matmul", "mGwby",
     [](Tensors& t) { grouped_matmul(t[0], t[1], t[2], true, t[3], t[4]); }},
    {"grouped_matmul_without_bias", "mGvy",
     [](Tensors& t) { grouped_matmul(t[0], t[1], t[2], false, Tensor(), t[3]); }},
    {"grouped_matmul_dw", "ymGw", [](Tensors& t) { grouped_matmul_dw(t[0], t[1], t[2], t[3]); }},
    {"grouped_matmul_dw_f32", "ymGW",
     [](Tensors& t) { grouped_matmul_dw(t[0], t[1], t[2], t[3]); }},
};

class Bf16 : public testing::TestWithParam<Kernel> {};

TEST_P(Bf16, IsF32Rounded) {
  const Kernel& kernel = GetParam();
  for (const auto& [n, c] :
       {std::pair<int64_t, int64_t>{0, 8}, {1, 1}, {3, 7}, {70, 64}, {37, 300}}) {
    SCOPED_TRACE(concat(n, " x ", c));
    Tensors narrow, wide;
    for (const char* letter = kernel.arguments; *letter; ++letter)
      narrow.push_back(argument(*letter, narrow.size(), n, c));
    for (const Tensor& t : narrow) wide.push_back(t.to(compute_type(t.dtype())).clone());
    kernel.call(narrow);
    kernel.call(wide);
    for (size_t i = 0; i < narrow.size(); ++i)
      EXPECT_TRUE(same_bits(narrow[i], wide[i].to(narrow[i].dtype()))) << "argument " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, Bf16, testing::ValuesIn(kKernels),
                         [](const auto& info) { return info.param.name; });

double distance(const Tensor& a, const Tensor& b) {  // of the size of b
  const auto x = a.to(DType::F64).to_vector<double>(), y = b.to(DType::F64).to_vector<double>();
  double difference = 0, size = 0;
  for (size_t i = 0; i < x.size(); ++i)
    difference += (x[i] - y[i]) * (x[i] - y[i]), size += y[i] * y[i];
  return size == 0 ? std::sqrt(difference) : std::sqrt(difference / size);
}

// The probabilities are those of f32, rounded; what follows from them is close.
TEST(Bf16Attention, FollowsF32) {
  const Tensor none;
  for (int flags = 0; flags < 16; ++flags)
    for (int64_t Tq : {0, 1, 9}) {
      SCOPED_TRACE(concat("flags ", flags, ", queries ", Tq));
      const AttentionSpec s{3, Tq, 11, 2, bool(flags & 1), 0.4, flags & 2 ? 0.3 : 0.0};
      const auto of_keys = [&](uint64_t id) { return random_tensor({s.batch * 11, 16}, id); };
      const auto of_queries = [&](uint64_t id) { return random_tensor({s.batch * Tq, 16}, id); };
      const Tensor bias = flags & 4 ? random_tensor({2, Tq, 11}, 5) : none;
      Tensor padding = flags & 8 ? Tensor::zeros({3, 11}, DType::U8) : none;
      if (flags & 8) std::fill_n(padding.data<uint8_t>() + 11 + 8, 3, 1);
      Tensors results[2];  // y, probs, dq, dk, dv, dbias
      for (DType type : {DType::F32, DType::BF16}) {
        const auto given = [&](const Tensor& t) { return t.to(DType::BF16).to(type); };
        const Tensor q = given(of_queries(1)), k = given(of_keys(2)), v = given(of_keys(3)),
                     dy = given(of_queries(4));
        Tensor y = empty_like(q), probs = Tensor::empty({3, 2, Tq, 11}, type), dq = empty_like(q),
               dk = empty_like(k), dv = empty_like(v),
               dbias = bias.defined() ? empty_like(bias) : Tensor();
        attention_forward(q, k, v, padding, bias, s, kStream, y, probs);
        attention_backward(q, k, v, padding, probs, y, s, kStream, dy, dq, dk, dv, dbias);
        results[type == DType::BF16] = {y, probs, dq, dk, dv, dbias};
      }
      EXPECT_TRUE(same_bits(results[1][1], results[0][1].to(DType::BF16)));
      for (size_t i = 0; i < 6; ++i) {
        if (!results[0][i].defined()) continue;
        EXPECT_LT(distance(results[1][i], results[0][i]), 1e-2) << i;
      }
    }
}

TEST(Bf16, IsRefusedWhereItHasNoPlace) {
  Tensor x = Tensor::zeros({4, 8}, DType::BF16), m = x.clone(), v = x.clone();
  Tensor rows = Tensor::zeros({4}), columns = Tensor::zeros({8});
  Tensor narrow_rows = rows.to(DType::BF16), narrow_columns = columns.to(DType::BF16),
         blocks = Tensor::zeros({1}, DType::F64);
  const Tensor wide = x.to(DType::F32);
  EXPECT_THROW(random_uniform(kStream, 0, 0.0, 1.0, x), Error);
  EXPECT_THROW(random_normal(kStream, 0, 1.0, x), Error);
  EXPECT_THROW(random_gumbel(kStream, Tensor(), x), Error);
  EXPECT_THROW(squared_norm_blocks(x, blocks), Error);
  EXPECT_THROW(adam_step(x, AdamSpec{0.1, 0.9, 0.9, 1e-8, 0, true, 1, 1}, x, m, v), Error);
  EXPECT_THROW(scale_rows(x, narrow_rows, x), Error);
  EXPECT_THROW(row_dot(x, x, narrow_rows), Error);
  EXPECT_THROW(add(x, wide, x), Error);
  EXPECT_THROW(layer_norm_forward(x, narrow_columns, columns, 1e-5, m, rows, rows), Error);
  EXPECT_THROW(scatter_add_rows(wide, Tensor::of<int64_t>({0, 1, 2, 3}), x), Error);
  const Tensor offsets = Tensor::of<int64_t>({0, 4});
  Tensor y = Tensor::zeros({4, 4}, DType::BF16);
  EXPECT_THROW(grouped_sum_rows(x, offsets, narrow_columns), Error);
  EXPECT_THROW(grouped_matmul(x, offsets, wide, true, Tensor(), y), Error);
  EXPECT_THROW(grouped_matmul(x, offsets, x, true, Tensor::zeros({4}), y), Error);
}

}  // namespace
}  // namespace switchyard
