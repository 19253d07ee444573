// The op table: every op of autograd/ops.h has a row here; every row is gradchecked in f64. A new op is a new
// row; the last test fails when one is missing.
#include <filesystem>
#include <fstream>
#include <set>

#include "autograd/ops.h"
#include "tests/support/gradcheck.h"

namespace switchyard {
namespace {

struct OpRow {
  std::string name;  // the op, then what is special about this row
  VarFunction fn;
  std::vector<Shape> inputs;
};

Tensor ints(const std::vector<int64_t>& values) {
  return Tensor::of(values, {int64_t(values.size())});
}
Tensor mask(const std::vector<uint8_t>& values, Shape shape) { return Tensor::of(values, shape); }
const RandomStream kRandom = random_stream(7, "test/ops");

std::vector<OpRow> op_table() {
  const Tensor constant = away_from_zero({6}, 99);
  const Tensor none = ints({});
  const AttentionSpec self = {2, 3, 3, 2, false, 0.5, 0};
  const AttentionSpec causal = {2, 3, 3, 2, true, 0.5, 0};
  const AttentionSpec cross = {2, 2, 4, 2, false, 0.7, 0};
  const AttentionSpec cached = {1, 2, 4, 2, true, 0.7, 0};
  const AttentionSpec dropped = {2, 3, 3, 2, false, 0.5, 0.4};
  const AttentionSpec nobody = {0, 3, 3, 2, false, 0.5, 0};
  const Tensor padding = mask({0, 0, 1, 0, 0, 0}, {2, 3});
  const Tensor all_padding = mask({1, 1, 1, 0, 0, 0}, {2, 3});
  return {
      {"add", [](Vars v) { return add(v[0], v[1]); }, {{3, 4}, {3, 4}}},
      {"add: zero rows", [](Vars v) { return add(v[0], v[1]); }, {{0, 4}, {0, 4}}},
      {"add: one Var twice", [](Vars v) { return add(v[0], v[0]); }, {{3, 4}}},
      {"mul", [](Vars v) { return mul(v[0], v[1]); }, {{3, 4}, {3, 4}}},
      {"mul: square", [](Vars v) { return mul(v[0], v[0]); }, {{3, 4}}},
      {"mul: zero rows", [](Vars v) { return mul(v[0], v[1]); }, {{0, 4}, {0, 4}}},
      {"scale", [](Vars v) { return scale(v[0], -1.7); }, {{3, 4}}},
      {"scale: zero rows", [](Vars v) { return scale(v[0], -1.7); }, {{0, 4}}},
      {"scale_rows", [](Vars v) { return scale_rows(v[0], v[1]); }, {{3, 4}, {3}}},
      {"scale_rows: zero rows", [](Vars v) { return scale_rows(v[0], v[1]); }, {{0, 4}, {0}}},
      {"relu", [](Vars v) { return relu(v[0]); }, {{5, 7}}},
      {"relu: zero rows", [](Vars v) { return relu(v[0]); }, {{0, 7}}},
      {"gelu", [](Vars v) { return gelu(scale(v[0], 3)); }, {{5, 7}}},
      {"gelu: zero rows", [](Vars v) { return gelu(v[0]); }, {{0, 7}}},
      {"sigmoid", [](Vars v) { return sigmoid(scale(v[0], 3)); }, {{5, 7}}},
      {"sigmoid: zero rows", [](Vars v) { return sigmoid(v[0]); }, {{0, 7}}},
      {"abs", [](Vars v) { return abs(v[0]); }, {{5, 7}}},
      {"abs: zero rows", [](Vars v) { return abs(v[0]); }, {{0, 7}}},
      {"dropout", [](Vars v) { return dropout(v[0], 0.4, kRandom); }, {{6, 5}}},
      {"dropout: row ids",
       [](Vars v) {
         return dropout(v[0], 0.4, kRandom, ints({9, 2, 70}));
       },
       {{3, 5}}},
      {"dropout: p = 0", [](Vars v) { return dropout(v[0], 0, kRandom); }, {{6, 5}}},
      {"dropout: zero rows", [](Vars v) { return dropout(v[0], 0.4, kRandom); }, {{0, 5}}},
      {"sum", [](Vars v) { return sum(v[0]); }, {{3, 4}}},
      {"sum: zero rows", [](Vars v) { return sum(v[0]); }, {{0, 4}}},
      {"mean_rows", [](Vars v) { return mean_rows(v[0]); }, {{3, 4}}},
      {"mean_rows: zero rows", [](Vars v) { return mean_rows(v[0]); }, {{0, 4}}},
      {"dot", [=](Vars v) { return dot(v[0], constant); }, {{2, 3}}},
      {"dot: zero rows", [=](Vars v) { return dot(v[0], constant.slice(0, 0)); }, {{0, 3}}},
      // f64 to f32 and back would lose the digits that the central difference needs: see CastIsUndoneInBackward
      {"cast: to the same", [](Vars v) { return cast(v[0], DType::F64); }, {{2, 3}}},
      {"concat_rows",
       [](Vars v) {
         return concat_rows({v[0], v[1], v[2], v[0]});
       },
       {{2, 3}, {0, 3}, {1, 3}}},
      {"concat_rows: zero rows",
       [](Vars v) {
         return concat_rows({v[0], v[1]});
       },
       {{0, 3}, {0, 3}}},
      {"linear", [](Vars v) { return linear(v[0], v[1], v[2]); }, {{5, 4}, {3, 4}, {3}}},
      {"linear: no bias", [](Vars v) { return linear(v[0], v[1]); }, {{5, 4}, {3, 4}}},
      {"linear: zero rows", [](Vars v) { return linear(v[0], v[1], v[2]); }, {{0, 4}, {3, 4}, {3}}},
      {"grouped_linear: an empty group",
       [](Vars v) {
         return grouped_linear(v[0], ints({0, 2, 2, 5}), v[1], v[2]);
       },
       {{5, 4}, {3, 2, 4}, {3, 2}}},
      {"grouped_linear: no bias",
       [](Vars v) {
         return grouped_linear(v[0], ints({0, 1, 5}), v[1], Var());
       },
       {{5, 4}, {2, 3, 4}}},
      {"grouped_linear: zero rows",
       [](Vars v) {
         return grouped_linear(v[0], ints({0, 0, 0}), v[1], v[2]);
       },
       {{0, 4}, {2, 3, 4}, {2, 3}}},
      {"layer_norm", [](Vars v) { return layer_norm(v[0], v[1], v[2]); }, {{3, 6}, {6}, {6}}},
      {"layer_norm: zero rows",
       [](Vars v) { return layer_norm(v[0], v[1], v[2]); },
       {{0, 6}, {6}, {6}}},
      {"softmax", [](Vars v) { return softmax(v[0]); }, {{3, 5}}},
      {"softmax: zero rows", [](Vars v) { return softmax(v[0]); }, {{0, 5}}},
      {"attention",
       [=](Vars v) { return attention(v[0], v[1], v[2], {}, v[3], self, kRandom); },
       {{6, 4}, {6, 4}, {6, 4}, {2, 3, 3}}},
      {"attention: padding",
       [=](Vars v) { return attention(v[0], v[1], v[2], padding, Var(), self, kRandom); },
       {{6, 4}, {6, 4}, {6, 4}}},
      {"attention: a sentence of padding only",
       [=](Vars v) { return attention(v[0], v[1], v[2], all_padding, v[3], self, kRandom); },
       {{6, 4}, {6, 4}, {6, 4}, {2, 3, 3}}},
      {"attention: causal",
       [=](Vars v) { return attention(v[0], v[1], v[2], padding, Var(), causal, kRandom); },
       {{6, 4}, {6, 4}, {6, 4}}},
      {"attention: cross",
       [=](Vars v) { return attention(v[0], v[1], v[2], {}, v[3], cross, kRandom); },
       {{4, 6}, {8, 6}, {8, 6}, {2, 2, 4}}},
      {"attention: causal, more keys than queries",
       [=](Vars v) { return attention(v[0], v[1], v[2], {}, Var(), cached, kRandom); },
       {{2, 4}, {4, 4}, {4, 4}}},
      {"attention: dropout",
       [=](Vars v) { return attention(v[0], v[1], v[2], padding, v[3], dropped, kRandom); },
       {{6, 4}, {6, 4}, {6, 4}, {2, 3, 3}}},
      {"attention: zero rows",
       [=](Vars v) { return attention(v[0], v[1], v[2], {}, v[3], nobody, kRandom); },
       {{0, 4}, {0, 4}, {0, 4}, {2, 3, 3}}},
      {"gather_rows",
       [](Vars v) {
         return gather_rows(v[0], ints({2, -1, 0, 2}));
       },
       {{3, 4}}},
      {"gather_rows: a lookup",
       [](Vars v) {
         return gather_rows(v[0], ints({4, 0, 4, 1}));
       },
       {{5, 3}}},
      {"gather_rows: zero rows", [=](Vars v) { return gather_rows(v[0], none); }, {{3, 4}}},
      {"gather_rows: from zero rows",
       [](Vars v) {
         return gather_rows(v[0], ints({-1, -1}));
       },
       {{0, 4}}},
      {"replace_rows",
       [](Vars v) {
         return replace_rows(v[0], ints({4, -1, 1}), v[1]);
       },
       {{5, 3}, {3, 3}}},
      {"replace_rows: zero rows",
       [=](Vars v) { return replace_rows(v[0], none, v[1]); },
       {{5, 3}, {0, 3}}},
      {"gather_columns",
       [](Vars v) {
         return gather_columns(v[0], Tensor::of<int64_t>({1, 3, 2, 2, 0, 1}, {3, 2}));
       },
       {{3, 4}}},
      {"gather_columns: one of each row",
       [](Vars v) {
         return gather_columns(v[0], Tensor::of<int64_t>({1, 3, 0}, {3, 1}));
       },
       {{3, 4}}},
      {"gather_columns: zero rows",
       [](Vars v) {
         return gather_columns(v[0], Tensor::empty({0, 2}, DType::I64));
       },
       {{0, 4}}},
      // tokens with 2, 0, 3, 1 choices
      {"normalize",
       [](Vars v) {
         return normalize(add(v[0], Var(Tensor::full({6}, 1.5, DType::F64))),
                          ints({0, 2, 2, 5, 6}));
       },
       {{6}}},
      // the sum is negative, so the divisor does not move with it
      {"normalize: epsilon is the divisor",
       [](Vars v) {
         const Var below = add(v[0], Var(Tensor::full({3}, -1.5, DType::F64)));
         return scale(normalize(below, ints({0, 2, 3})), 1e-16);
       },
       {{3}}},
      {"normalize: zero rows", [=](Vars v) { return normalize(v[0], ints({0})); }, {{0}}},
      // three tokens with 2, 0, 3 choices; one choice was dropped, row 2 belongs to nobody
      {"combine_rows",
       [](Vars v) {
         return combine_rows(v[0], ints({0, 2, 2, 5}), ints({4, 0, 3, -1, 1}), v[1]);
       },
       {{5, 3}, {5}}},
      {"combine_rows: zero rows",
       [=](Vars v) { return combine_rows(v[0], ints({0}), none, v[1]); },
       {{0, 3}, {0}}},
      {"combine_rows: all dropped",
       [](Vars v) {
         return combine_rows(v[0], ints({0, 1, 2}), ints({-1, -1}), v[1]);
       },
       {{0, 3}, {2}}},
      {"cross_entropy",
       [](Vars v) {
         return cross_entropy(v[0], ints({2, 0, 4}), -1, 0).loss;
       },
       {{3, 5}}},
      {"cross_entropy: smoothing, ignored row",
       [](Vars v) {
         return cross_entropy(v[0], ints({2, 1, 4}), 1, 0.1).loss;
       },
       {{3, 5}}},
      {"cross_entropy: zero rows",
       [=](Vars v) { return cross_entropy(v[0], none, 1, 0.1).loss; },
       {{0, 5}}},
  };
}

TEST(Ops, GradientsEqualCentralDifferences) {
  for (const OpRow& row : op_table()) {
    std::vector<Tensor> inputs;
    for (const Shape& shape : row.inputs)
      inputs.push_back(away_from_zero(shape, inputs.size() + 1));
    EXPECT_TRUE(gradcheck(row.fn, inputs)) << row.name;
  }
}

TEST(Ops, AWrongGradientIsFound) {
  const VarFunction wrong = [](Vars v) {
    return make_node("wrong", scale(v[0], 2).data(), {v[0]},
                     [](const Tensor& dy) -> Grads { return {dy}; });
  };
  EXPECT_FALSE(gradcheck(wrong, {away_from_zero({2, 2}, 1)}));
}

TEST(Ops, CastIsUndoneInBackward) {
  const Var x(Tensor::of<double>({0.1, -2}), true);
  const Var y = cast(x, DType::F32);
  EXPECT_EQ(y.data().to_vector<float>(), (std::vector<float>{0.1f, -2}));
  backward({y}, {Tensor::of<float>({0.3f, 4})});
  EXPECT_EQ(x.grad().to_vector<double>(), (std::vector<double>{double(0.3f), 4}));
}

TEST(Ops, GatheredRowWithoutGradient) {
  const Var weight(Tensor::of<double>({1, 2, 3, 4, 5, 6}, {3, 2}), true);
  const Var y = gather_rows(weight, ints({1, 2, 1}), 1);
  EXPECT_EQ(y.data().to_vector<double>(), (std::vector<double>{3, 4, 5, 6, 3, 4}));
  backward({y}, {Tensor::full({3, 2}, 1, DType::F64)});
  EXPECT_EQ(weight.grad().to_vector<double>(), (std::vector<double>{0, 0, 0, 0, 1, 1}));
}

TEST(Ops, ReplaceRowsValuesAndMistakes) {
  const Var column(Tensor::of<double>({1, 2, 3}, {3, 1}));
  const Var rows(Tensor::of<double>({7, 8}, {2, 1}));
  EXPECT_EQ(replace_rows(column, ints({2, 0}), rows).data().to_vector<double>(),
            (std::vector<double>{8, 2, 7}));
  EXPECT_THROW(replace_rows(column, ints({2, 2}), rows), Error);
  EXPECT_THROW(replace_rows(column, ints({3, 0}), rows), Error);
}

TEST(Ops, GatherColumnsValuesAndMistakes) {
  const Var x(Tensor::of<double>({1, 2, 3, 4, 5, 6}, {3, 2}), true);
  const auto columns = [](const std::vector<int64_t>& c) {
    return Tensor::of(c, {3, int64_t(c.size()) / 3});
  };
  const Var y = gather_columns(x, columns({1, 0, 0, 0, 1, 0}));
  EXPECT_EQ(y.data().to_vector<double>(), (std::vector<double>{2, 1, 3, 3, 6, 5}));
  backward({y}, {y.data()});
  EXPECT_EQ(x.grad().to_vector<double>(), (std::vector<double>{1, 2, 6, 0, 5, 6}));
  EXPECT_THROW(gather_columns(x, columns({0, 2, 0})), Error);
  EXPECT_THROW(gather_columns(x, columns({0, -1, 0})), Error);
  EXPECT_THROW(gather_columns(x, ints({0, 1})), Error);
}

TEST(Ops, NormalizeValuesAndMistakes) {
  const Var x(Tensor::of<double>({1, 3, 0, 0, 5}));
  EXPECT_EQ(normalize(x, ints({0, 2, 4, 4, 5})).data().to_vector<double>(),
            (std::vector<double>{0.25, 0.75, 0, 0, 1}));
  EXPECT_THROW(normalize(x, ints({0, 2, 4})), Error);
}

TEST(Ops, CrossEntropyCounts) {
  const Var logits(Tensor::zeros({3, 4}), true);  // uniform: -log(1/4) each
  const CrossEntropy ce = cross_entropy(logits, ints({1, 0, 3}), 0, 0.1);
  EXPECT_EQ(ce.rows, 2);
  EXPECT_NEAR(value_of(ce.nll), 2 * std::log(4.0), 1e-6);
  EXPECT_NEAR(ce.loss.data().data<float>()[0], 2 * std::log(4.0), 1e-6);
  EXPECT_EQ(ce.loss.data().dtype(), DType::F32);
}

TEST(Ops, MisshapenInputsAreErrors) {
  const Var a(Tensor::zeros({2, 3})), b(Tensor::zeros({3, 2}));
  EXPECT_THROW(add(a, b), Error);
  EXPECT_THROW(mul(a, b), Error);
  EXPECT_THROW(linear(a, b), Error);
  EXPECT_THROW(concat_rows({a, b}), Error);
}

// The functions that ops.h declares, read from the file itself.
std::set<std::string> declared_ops() {
  const auto header = std::filesystem::path(__FILE__).parent_path() / "../../autograd/ops.h";
  std::ifstream in(header);
  std::set<std::string> names;
  for (std::string line; std::getline(in, line);)
    for (const std::string type : {"Var ", "CrossEntropy "})
      if (line.starts_with(type))
        names.insert(line.substr(type.size(), line.find('(') - type.size()));
  return names;
}

TEST(Ops, EveryOpHasARow) {
  std::set<std::string> in_table;
  for (const OpRow& row : op_table()) in_table.insert(row.name.substr(0, row.name.find(':')));
  const std::set<std::string> declared = declared_ops();
  EXPECT_GE(declared.size(), 23u);
  EXPECT_EQ(in_table, declared);
}

}  // namespace
}  // namespace switchyard
