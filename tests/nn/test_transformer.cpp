// The transformer as a whole: gradients, cached decoding, checkpointing, padding, idle ranks.
#include <cstring>

#include "autograd/ops.h"
#include "tests/nn/small_model.h"
#include "tests/support/gradcheck.h"

namespace switchyard {
namespace {
using namespace testing_nn;

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.defined() == b.defined() &&
         (!a.defined() ||
          (a.shape() == b.shape() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0));
}

// As a gate would: an auxiliary loss, a decision, a statistic, and a node that counts its backward runs.
struct Probe : SubBlock {
  Probe(int64_t width, DType dtype, int& decided_, int& ran_)
      : gate(width, width, dtype), decided(decided_), ran(ran_) {}
  Linear gate;
  int &decided, &ran;
  Var forward(const Var& x, const Var&, ForwardContext& ctx) override {
    Scope scope(ctx, "moe");
    const Var h = gate.forward(x);
    std::vector<int64_t> chosen{7};
    if (ctx.recorder)
      chosen = ctx.recorder->decide([&] { return std::vector<int64_t>{++decided}; });
    ctx.count("calls", {1.0});
    ctx.add_loss("gate", 0.5, sum(mul(h, h)));
    const Var joined = make_node("probe", h.data(), {h},
                                 [this](const Tensor& dy) -> Grads {
                                   ++ran;
                                   return {dy};
                                 },
                                 {true});
    return add(x, scale(joined, 0.1 * double(chosen.at(0))));
  }
  void visit(ParamVisitor& v) override { v("moe/gate", gate); }
};

class Precision : public ::testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(All, Precision, ::testing::Values(DType::F32, DType::F64));

void check_gradients(ModelConfig c) {
  c.encoder_embed_dim = c.decoder_embed_dim = 4;
  c.encoder_ffn_embed_dim = c.decoder_ffn_embed_dim = 5;
  c.decoder_layers = 1;
  auto model = make_small(c, DType::F64);
  const auto params = parameters(*model);
  std::vector<Tensor> inputs;
  for (auto& p : params) inputs.push_back(p.param->var.data());
  EXPECT_TRUE(gradcheck(
      [&](Vars x) {
        for (size_t i = 0; i < x.size(); ++i) params[i].param->var = x[i];
        ForwardContext ctx;
        ctx.training = true;
        return loss_of(*model, ctx).loss;
      },
      inputs));
}

TEST(Transformer, GradientsOfEveryParameterPreNorm) {
  ModelConfig c = small_config();
  c.dropout = c.attention_dropout = c.activation_dropout = 0.2;
  check_gradients(c);
}

TEST(Transformer, GradientsOfEveryParameterPostNormGelu) {
  ModelConfig c = small_config();
  c.encoder_normalize_before = c.decoder_normalize_before = false;
  c.activation_fn = "gelu";
  check_gradients(c);
}

TEST(Transformer, GradientsWithCheckpointing) {
  ModelConfig c = small_config();
  c.dropout = c.attention_dropout = 0.2;
  c.checkpoint_activations = true;
  check_gradients(c);
}

TEST_P(Precision, CachedDecodingEqualsTheFullPass) {
  auto model = make_small(small_config(), GetParam());
  const double tolerance = GetParam() == DType::F64 ? 1e-12 : 1e-5;
  NoGrad no_grad;
  // Two hypotheses of each sentence. Before the third token both of sentence 0 continue hypothesis 1,
  // those of sentence 1 change places.
  Ids rows{{2, 9, 3}, {2, 9, 4}, {2, 10, 5}, {2, 8, 6}};
  const std::vector<int64_t> parents{1, 1, 3, 2};
  const Ids last{{7}, {8}, {9}, {10}};

  ForwardContext ctx;
  const Var encoded = model->encode(ids_of(source_ids()), ctx);
  DecodeState state;
  state.beams = 2;
  ctx.decode = &state;
  Tensor cached;
  for (size_t t = 0; t < 3; ++t) {
    Ids column;
    for (const auto& r : rows) column.push_back({r[t]});
    cached = model->decode(ids_of(column), encoded, ctx).data();
  }
  state.reorder(parents);
  cached = model->decode(ids_of(last), encoded, ctx).data();
  EXPECT_EQ(state.position, 4);

  for (size_t i = 0; i < rows.size(); ++i) {
    std::vector<int64_t> whole = rows[parents[i]];
    whole.push_back(last[i][0]);
    ForwardContext full;
    const Tensor logits = logits_of(*model, {source_ids()[i / 2]}, {whole}, full);
    const auto expected = values(logits.slice(3, 4)), got = values(cached.slice(i, i + 1));
    for (size_t v = 0; v < expected.size(); ++v)
      EXPECT_NEAR(got[v], expected[v], tolerance) << "row " << i;
  }
}

TEST(Transformer, CacheFollowsSentencesThatLeave) {
  auto model = make_small(small_config(), DType::F64);
  NoGrad no_grad;
  ForwardContext ctx;
  const Var encoded = model->encode(ids_of(source_ids()), ctx);
  DecodeState state;
  ctx.decode = &state;
  model->decode(ids_of({{2}, {2}}), encoded, ctx);
  state.reorder({1});  // sentence 0 is done
  ctx.source_layout.batch = 1;
  ctx.source_layout.padding = ctx.source_layout.padding.slice(5, 10);
  const auto got = values(model->decode(ids_of({{10}}), encoded, ctx).data());
  ForwardContext full;
  const auto expected = values(logits_of(*model, {source_ids()[1]}, {{2, 10}}, full).slice(1, 2));
  for (size_t v = 0; v < expected.size(); ++v) EXPECT_NEAR(got[v], expected[v], 1e-12);

  state.reorder({});  // nobody left, but other ranks still decode
  ctx.source_layout.batch = 0;
  ctx.source_layout.padding = ctx.source_layout.padding.slice(0, 0);
  EXPECT_EQ(model->decode(Tensor::empty({0, 1}, DType::I64), encoded, ctx).shape(), (Shape{0, 11}));
}

struct Trained {
  LossParts parts;
  std::vector<Tensor> grads;
  Statistics statistics;
  int decided = 0, ran = 0;
};

Trained train_once(bool checkpointed, bool outer_recorder, DType dtype = DType::F32) {
  ModelConfig c = small_config();
  c.dropout = 0.3, c.attention_dropout = 0.1, c.activation_dropout = 0.2;
  c.checkpoint_activations = checkpointed;
  Trained t;
  Transformer model(
      c, 11,
      [&](bool decoder, int layer) -> std::unique_ptr<SubBlock> {
        if (layer == 0) return std::make_unique<Probe>(8, dtype, t.decided, t.ran);
        return make_dense_ffn(c, decoder, dtype);
      },
      dtype);
  initialize(model, 3);
  ForwardContext ctx;
  ctx.training = true;
  ctx.update = 5, ctx.micro_batch = 2, ctx.rank = 3;
  DecisionRecorder recorder;
  if (outer_recorder) ctx.recorder = &recorder;
  t.parts = loss_of(model, ctx);
  EXPECT_EQ(ctx.losses.size(), 2u);
  EXPECT_EQ(ctx.recorder, outer_recorder ? &recorder : nullptr);
  t.statistics = ctx.statistics;
  ctx = ForwardContext();  // backward must not need the caller's context
  backward(t.parts.loss);
  for (auto& p : parameters(model)) t.grads.push_back(p.param->var.grad());
  return t;
}

TEST(Checkpointing, EqualsThePlainPassToTheBit) {
  const Trained plain = train_once(false, true), again = train_once(true, true);
  EXPECT_TRUE(same_bits(plain.parts.loss.data(), again.parts.loss.data()));
  ASSERT_EQ(plain.grads.size(), again.grads.size());
  for (size_t i = 0; i < plain.grads.size(); ++i) {
    ASSERT_TRUE(plain.grads[i].defined());
    EXPECT_TRUE(same_bits(plain.grads[i], again.grads[i])) << i;
  }
  EXPECT_EQ(plain.statistics, again.statistics);
  EXPECT_EQ(again.statistics.at("decoder/0/moe/calls"), std::vector<double>{1});
}

TEST(Checkpointing, DecidesOnceWithoutACallersRecorder) {
  const Trained t = train_once(true, false);
  EXPECT_EQ(t.decided, 2);  // one block in the encoder, one in the decoder
  EXPECT_EQ(t.ran, 2);
}

TEST(Dropout, DependsOnTheKeyAndOnlyInTraining) {
  ModelConfig c = small_config();
  c.dropout = 0.3;
  auto model = make_small(c, DType::F32);
  const auto run = [&](bool training, int64_t update, int rank) {
    ForwardContext ctx;
    ctx.training = training, ctx.update = update, ctx.rank = rank;
    return logits_of(*model, source_ids(), decoder_ids(), ctx);
  };
  EXPECT_TRUE(same_bits(run(true, 1, 0), run(true, 1, 0)));
  EXPECT_FALSE(same_bits(run(true, 1, 0), run(true, 2, 0)));
  EXPECT_FALSE(same_bits(run(true, 1, 0), run(true, 1, 1)));
  EXPECT_TRUE(same_bits(run(false, 1, 0), run(false, 2, 1)));
}

TEST(Padding, MoreColumnsChangeNothing) {
  for (bool pre_norm : {true, false}) {
    ModelConfig c = small_config();
    c.encoder_normalize_before = c.decoder_normalize_before = pre_norm;
    auto model = make_small(c, DType::F32);
    Ids source = source_ids(), input = decoder_ids();
    ForwardContext plain;
    const auto expected = values(logits_of(*model, source, input, plain));
    for (auto& s : source) s.insert(s.begin(), 3, 1);
    for (auto& t : input) t.insert(t.end(), 2, 1);
    ForwardContext padded;
    const auto got = values(logits_of(*model, source, input, padded));
    for (double x : got) ASSERT_TRUE(std::isfinite(x));
    for (size_t b = 0; b < input.size(); ++b)
      for (size_t t = 0; t < 4; ++t)
        for (size_t v = 0; v < 11; ++v) {
          if (input[b][t] == 1) continue;
          EXPECT_NEAR(got[(b * 6 + t) * 11 + v], expected[(b * 4 + t) * 11 + v], 1e-6);
        }
  }
}

TEST(Padding, ASentenceOfPaddingIsFinite) {
  auto model = make_small(small_config(), DType::F32);
  ForwardContext ctx;
  for (double x : values(logits_of(*model, {{1, 1}}, {{1, 1}}, ctx))) EXPECT_TRUE(std::isfinite(x));
}

TEST(IdleRank, RunsEveryBlockForwardAndBackward) {
  for (bool checkpointed : {false, true}) {
    ModelConfig c = small_config();
    c.checkpoint_activations = checkpointed;
    c.dropout = c.attention_dropout = 0.1;
    int decided = 0, ran = 0;
    Transformer model(
        c, 11, [&](bool, int) { return std::make_unique<Probe>(8, DType::F32, decided, ran); });
    initialize(model, 1);
    ForwardContext ctx;
    ctx.training = true;
    const Tensor none = Tensor::empty({0, 0}, DType::I64);
    const Var encoded = model.encode(none, ctx);
    const LossParts parts =
        criterion(model.decode(none, encoded, ctx), none, 1, 0.1, ctx.losses, true);
    EXPECT_EQ(parts.tokens, 0);
    EXPECT_EQ(values(parts.loss.data()), std::vector<double>{0});
    backward(parts.loss);
    EXPECT_EQ(ran, 3);
    for (auto& p : parameters(model)) {
      if (!p.param->var.grad().defined()) continue;
      for (double g : values(p.param->var.grad())) EXPECT_EQ(g, 0) << p.path;
    }
  }
}

TEST(Embeddings, PaddingRowGetsNoGradientFromTheLookup) {
  Embedding embed(5, 2, 1, DType::F64);
  initialize(embed, 1);
  backward(embed.forward(Tensor::of<int64_t>({1, 3, 3})));
  EXPECT_EQ(values(embed.weight.var.grad()), (std::vector<double>{0, 0, 0, 0, 0, 0, 2, 2, 0, 0}));
}

TEST(Positions, FirstTokenAfterPaddingIsTwo) {
  SinusoidalPositions positions(6, 1, DType::F64);
  const Tensor p = positions.forward(ids_of({{1, 1, 5, 6}}));
  for (int i = 0; i < 12; ++i) EXPECT_EQ(p.data<double>()[i], 0);
  for (int t = 0; t < 2; ++t)
    for (int k = 0; k < 3; ++k) {
      const double angle = (2 + t) * std::exp(-k * std::log(10000.0) / 2);
      EXPECT_NEAR(p.data<double>()[(2 + t) * 6 + k], std::sin(angle), 1e-15);
      EXPECT_NEAR(p.data<double>()[(2 + t) * 6 + 3 + k], std::cos(angle), 1e-15);
    }
  EXPECT_TRUE(same_bits(positions.forward(ids_of({{5}}), 700),
                        positions.forward(ids_of({{6}, {7}}), 700).slice(1, 2)));
}

TEST(Config, RefusesWhatCannotBeBuilt) {
  const auto refused = [](auto change) {
    ModelConfig c = small_config();
    change(c);
    EXPECT_THROW(c.validate(), UserError);
  };
  refused([](ModelConfig& c) { c.decoder_embed_dim = 16; });
  refused([](ModelConfig& c) { c.share_all_embeddings = false; });
  refused([](ModelConfig& c) { c.encoder_attention_heads = 3; });
  refused([](ModelConfig& c) { c.encoder_layers = 0; });
  refused([](ModelConfig& c) { c.dropout = 1; });
  refused([](ModelConfig& c) { c.attention_dropout = std::nan(""); });
  refused([](ModelConfig& c) { c.activation_fn = "swish"; });
}

}  // namespace
}  // namespace switchyard
