// Mixed precision: with a bf16 stream the losses, gradients and their types.
#include "nn/optimizer.h"
#include "tests/nn/small_model.h"

namespace switchyard {
namespace {
using namespace testing_nn;

ModelConfig config(bool checkpointed = false) {
  ModelConfig c = small_config();
  c.encoder_embed_dim = c.decoder_embed_dim = 32;
  c.encoder_ffn_embed_dim = c.decoder_ffn_embed_dim = 48;
  c.activation_fn = "gelu";
  c.checkpoint_activations = checkpointed;
  return c;
}

struct Pass {
  double loss = 0;
  std::map<std::string, Tensor> gradients;
};
Pass pass(const ModelConfig& c, DType stream) {
  const auto model = make_small(c, DType::F32);
  model->stream_type = stream;
  ForwardContext ctx;
  ctx.training = true;
  const Var logits =
      model->decode(ids_of(decoder_ids()), model->encode(ids_of(source_ids()), ctx), ctx);
  EXPECT_EQ(logits.data().dtype(), stream);
  const Var loss = criterion(logits, ids_of(target_ids()), 1, 0.1, ctx.losses, true).loss;
  EXPECT_EQ(loss.data().dtype(), DType::F32);
  backward(loss);
  Pass p{value_of(loss.data()), {}};
  for (const auto& [path, param] : parameters(*model)) {
    EXPECT_EQ(param->var.grad().dtype(), DType::F32) << path;
    p.gradients[path] = param->var.grad();
  }
  return p;
}

TEST(MixedPrecision, GradientsPointWhereThoseOfF32Do) {
  const Pass exact = pass(config(), DType::F32), mixed = pass(config(), DType::BF16);
  EXPECT_NEAR(mixed.loss, exact.loss, 0.01 * exact.loss);
  EXPECT_NE(mixed.loss, exact.loss);  // bf16 it is
  for (const auto& [path, g] : exact.gradients) {
    if (path.ends_with("/k/bias")) continue;  // its true gradient is 0
    const auto a = values(g), b = values(mixed.gradients.at(path));
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < a.size(); ++i) ab += a[i] * b[i], aa += a[i] * a[i], bb += b[i] * b[i];
    EXPECT_GT(ab, 0.99 * std::sqrt(aa * bb)) << path;
    EXPECT_NEAR(std::sqrt(bb), std::sqrt(aa), 0.05 * std::sqrt(aa)) << path;
  }
}

TEST(MixedPrecision, ActivationCheckpointingChangesNoBit) {
  const Pass plain = pass(config(), DType::BF16), again = pass(config(true), DType::BF16);
  EXPECT_EQ(plain.loss, again.loss);
  for (const auto& [path, g] : plain.gradients)
    EXPECT_EQ(values(g), values(again.gradients.at(path))) << path;
}

TEST(MixedPrecision, AStepMovesTheParametersAndTheirCopies) {
  Linear layer(4, 3, DType::F32);
  initialize(layer, 1);
  const Var x(Tensor::full({2, 4}, 1, DType::BF16));
  const auto before = values(layer.forward(x).data());
  backward(layer.forward(x));
  OptimConfig c;
  c.lr = 0.5;
  Optimizer adam(c);
  adam.set_parameters(parameters(layer));
  adam.step(0.5, 1);
  const auto after = values(layer.forward(x).data());
  for (size_t i = 0; i < after.size(); ++i)  // each weight and the bias fall by 0.5
    EXPECT_NEAR(after[i], before[i] - 2.5, 0.05);
}

TEST(MixedPrecision, SumsAreF32AndTheirGradientsBf16) {
  const auto x = [] { return Var(Tensor::of<float>({1, 2, 3, 4}, {2, 2}).to(DType::BF16), true); };
  const Var a = x(), b = x(), c = x();
  const Var s = sum(a), d = dot(b, Tensor::full({4}, 2, DType::BF16)), m = mean_rows(c);
  for (const Var& y : {s, d, m}) EXPECT_EQ(y.data().dtype(), DType::F32);
  EXPECT_EQ(values(s.data()), (std::vector<double>{10}));
  EXPECT_EQ(values(d.data()), (std::vector<double>{20}));
  EXPECT_EQ(values(m.data()), (std::vector<double>{2, 3}));
  backward({s, d, m});
  for (const Var& y : {a, b, c}) EXPECT_EQ(y.grad().dtype(), DType::BF16);
  EXPECT_EQ(values(a.grad()), (std::vector<double>{1, 1, 1, 1}));
  EXPECT_EQ(values(b.grad()), (std::vector<double>{2, 2, 2, 2}));
  EXPECT_EQ(values(c.grad()), (std::vector<double>{0.5, 0.5, 0.5, 0.5}));
}

}  // namespace
}  // namespace switchyard
