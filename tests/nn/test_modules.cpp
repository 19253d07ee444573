// Parameters: paths, initial values, count. Attention with free sizes.
#include "autograd/ops.h"
#include "tests/nn/small_model.h"
#include "tests/support/gradcheck.h"

namespace switchyard {
namespace {
using namespace testing_nn;

struct ExpertsOnly : Module {
  Param w;
  ExpertsOnly(int64_t first, int64_t local, int64_t all)
      : w(make_expert_param({local, 3, 5}, {Init::Uniform, 0.25}, first, all)) {}
  void visit(ParamVisitor& v) override { v("experts/fc1/weight", w); }
};

TEST(Parameters, PathsArePinned) {
  ModelConfig c = small_config();
  c.decoder_layers = 1;
  auto model = make_small(c, DType::F32);
  std::vector<std::string> expected{"embed/weight"};
  const auto leaf = [&](const std::string& path) {
    expected.push_back(path + "/weight");
    expected.push_back(path + "/bias");
  };
  for (const char* side : {"encoder", "decoder"}) {
    const std::string layer = std::string(side) + "/0/";
    for (const char* attention : {"self_attn", "cross_attn"}) {
      if (attention == std::string("cross_attn") && side == std::string("encoder")) continue;
      for (const char* map : {"q", "k", "v", "out"}) leaf(layer + attention + "/" + map);
      leaf(layer + attention + "_norm");
    }
    leaf(layer + "ffn_norm");
    leaf(layer + "ffn/fc1");
    leaf(layer + "ffn/fc2");
    leaf(std::string(side) + "/norm");
  }
  std::sort(expected.begin(), expected.end());
  std::vector<std::string> got;
  for (auto& p : parameters(*model)) got.push_back(p.path);
  EXPECT_EQ(got, expected);
}

TEST(Parameters, M4DenseHasSixtyMillion) {
  ModelConfig c;  // defaults are the M4 sizes
  Transformer model(c, 32000, [&](bool decoder, int) { return make_dense_ffn(c, decoder); });
  EXPECT_NEAR(double(parameter_count(model)), 60e6, 1e6);
}

TEST(Parameters, TwoOfOnePathAreAnError) {
  struct Twice : Module {
    Param a = make_param({1}, {}), b = make_param({1}, {});
    void visit(ParamVisitor& v) override { v("x", a), v("x", b); }
  } twice;
  EXPECT_THROW(parameters(twice), Error);
}

TEST(InitialValues, OfAnExpertDoNotDependOnTheSharding) {
  ExpertsOnly whole(0, 4, 4);
  initialize(whole, 9);
  const auto all = values(whole.w.var.data());
  for (int64_t first : {0, 1, 3}) {
    ExpertsOnly shard(first, 1, 4);
    initialize(shard, 9);
    const auto mine = values(shard.w.var.data());
    EXPECT_TRUE(std::equal(mine.begin(), mine.end(), all.begin() + first * 15)) << first;
    EXPECT_EQ(parameter_count(shard), 60);
    EXPECT_EQ(parameter_count(shard, false), 15);
  }
  EXPECT_FALSE(std::equal(all.begin(), all.begin() + 15, all.begin() + 15));
  ExpertsOnly other(0, 4, 4);
  initialize(other, 10);
  EXPECT_NE(values(other.w.var.data()), all);
}

TEST(InitialValues, FollowTheSpec) {
  ModelConfig c;
  c.encoder_layers = c.decoder_layers = 1;
  c.encoder_embed_dim = c.decoder_embed_dim = 64;
  c.encoder_ffn_embed_dim = c.decoder_ffn_embed_dim = 256;
  auto model = make_small(c, DType::F32, 500);
  // Of a uniform distribution: the largest of many values is just below the bound, the mean near 0.
  const auto uniform = [](const Tensor& t, double bound, const std::string& path) {
    double largest = 0, mean = 0;
    for (double x : values(t))
      largest = std::max(largest, std::fabs(x)), mean += x / double(t.numel());
    EXPECT_LE(largest, bound * (1 + 1e-6)) << path;
    EXPECT_GT(largest, bound * 0.8) << path;
    EXPECT_LT(std::fabs(mean), bound * 0.35) << path;
  };
  for (auto& [path, p] : parameters(*model)) {
    const Tensor& t = p->var.data();
    const bool qkv =
        path.find("_attn/") != std::string::npos && path.find("/out/") == std::string::npos;
    if (path == "embed/weight") {
      double square = 0;
      for (double x : values(t)) square += x * x;
      EXPECT_NEAR(square / (499 * 64), 1.0 / 64, 0.05 / 64);
      for (double x : values(t.slice(1, 2))) EXPECT_EQ(x, 0);
    } else if (path.find("norm/") != std::string::npos) {
      for (double x : values(t)) EXPECT_EQ(x, path.ends_with("weight") ? 1 : 0) << path;
    } else if (path.ends_with("out/bias")) {
      for (double x : values(t)) EXPECT_EQ(x, 0) << path;
    } else if (path.ends_with("out/weight")) {
      uniform(t, std::sqrt(6.0 / 128), path);
    } else if (qkv && path.ends_with("weight")) {
      uniform(t, std::sqrt(6.0 / 128) / std::sqrt(2.0), path);
    } else {
      const int64_t fan_in = path.find("fc2") != std::string::npos ? 256 : 64;
      uniform(t, 1 / std::sqrt(double(fan_in)), path);
    }
  }
}

TEST(AttentionModule, FreeHeadWidthScaleAndBias) {
  AttentionOptions o;
  o.width = 6, o.heads = 2, o.head_width = 5, o.scale = 1, o.linear_bias = false;
  o.dtype = DType::F64, o.keys = AttentionOptions::Earlier;
  Attention attention(o);
  initialize(attention, 1);
  EXPECT_EQ(parameters(attention).size(), 4u);
  EXPECT_TRUE(gradcheck(
      [&](Vars x) {
        ForwardContext ctx;
        ctx.layout = {2, 3, Tensor::of<uint8_t>({0, 0, 0, 0, 0, 1})};
        return attention.forward(x[0], {}, ctx, x[1]);
      },
      {away_from_zero({6, 6}, 1), away_from_zero({2, 3, 3}, 2)}));
}

TEST(Statistics, AreAddedUp) {
  ForwardContext ctx;
  Scope scope(ctx, "decoder");
  ctx.count("n", {1, 2});
  ctx.count("n", {1, 2, 3});
  EXPECT_EQ(ctx.statistics.at("decoder/n"), (std::vector<double>{2, 4, 3}));
  ctx.count("n", Tensor::of<float>({7}));  // of the device: read by the trainer
  EXPECT_EQ(ctx.statistics.size(), 1u);
  ASSERT_EQ(ctx.measured.size(), 1u);
  EXPECT_EQ(ctx.measured[0].name, "decoder/n");
}

}  // namespace
}  // namespace switchyard
