// What turns gradients into updates: criterion, Adam, schedules, clipping.
#include <cmath>

#include "nn/optimizer.h"
#include "tests/nn/small_model.h"

namespace switchyard {
namespace {
using namespace testing_nn;

TEST(Criterion, ByHandForThreeWords) {
  const Var logits(Tensor::of<double>({0.5, -1, 2, 1, 0, 0, 3, 3, 3}, {3, 3}), true);
  const Tensor target = Tensor::of<int64_t>({2, 0, 1});  // the last is padding
  const Var gate1(Tensor::of<double>({3.0}), true), gate2(Tensor::of<double>({1.0}), true);
  const std::vector<NamedLoss> losses{{"gate", 0.01, gate1}, {"gate", 0.01, gate2}};
  const auto log_q = [](std::vector<double> z, int i) {
    double s = 0;
    for (double x : z) s += std::exp(x);
    return z[i] - std::log(s);
  };
  double nll = 0, all = 0;
  const std::vector<double> z[] = {{0.5, -1, 2}, {1, 0, 0}};
  nll -= log_q(z[0], 2) + log_q(z[1], 0);
  for (auto& row : z)
    for (int v = 0; v < 3; ++v) all -= log_q(row, v);
  const double smooth = 0.9 * nll + 0.1 / 3 * all;
  for (bool average : {true, false}) {
    const LossParts parts = criterion(logits, target, 1, 0.1, losses, average);
    const double gate = 2 * (average ? 2.0 : 4.0);
    EXPECT_EQ(parts.tokens, 2);
    EXPECT_NEAR(value_of(parts.nll), nll, 1e-12);
    EXPECT_NEAR(value_of(parts.cross_entropy), smooth, 1e-12);
    EXPECT_NEAR(value_of(parts.auxiliary.at("gate")), gate, 1e-12);
    EXPECT_NEAR(values(parts.loss.data())[0], smooth + 0.01 * gate, 1e-12);
    backward(parts.loss);
    EXPECT_NEAR(values(gate1.grad())[0], average ? 0.01 : 0.03, 1e-12);  // second pass adds 0.02
  }
}

TEST(Schedule, HmoeSettings) {
  OptimConfig c;
  c.lr = 8e-4, c.warmup_updates = 8000, c.warmup_init_lr = 1e-7;
  EXPECT_DOUBLE_EQ(learning_rate(c, 0), 1e-7);
  EXPECT_DOUBLE_EQ(learning_rate(c, 4000), 4.0005e-4);
  EXPECT_DOUBLE_EQ(learning_rate(c, 8000), 8e-4);
  EXPECT_DOUBLE_EQ(learning_rate(c, 32000), 4e-4);
}

TEST(Schedule, OtherForms) {
  OptimConfig c;
  c.lr = 1.0, c.warmup_updates = 10, c.total_num_update = 110, c.end_learning_rate = 0.2;
  c.lr_scheduler = "polynomial_decay";
  EXPECT_DOUBLE_EQ(learning_rate(c, 0), 0);
  EXPECT_DOUBLE_EQ(learning_rate(c, 5), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(c, 60), 0.6);
  EXPECT_DOUBLE_EQ(learning_rate(c, 500), 0.2);
  c.power = 2;
  EXPECT_DOUBLE_EQ(learning_rate(c, 60), 0.2 + 0.8 * 0.25);
  c.lr_scheduler = "cosine", c.min_lr = 0.1;
  EXPECT_DOUBLE_EQ(learning_rate(c, 10), 1.0);
  EXPECT_NEAR(learning_rate(c, 60), 0.55, 1e-15);
  EXPECT_NEAR(learning_rate(c, 110), 0.1, 1e-15);
  c.lr_scheduler = "fixed", c.warmup_updates = 0;
  EXPECT_DOUBLE_EQ(learning_rate(c, 0), 1.0);
  EXPECT_DOUBLE_EQ(learning_rate(c, 9999), 1.0);
}

TEST(Schedule, RefusesImpossibleValues) {
  const auto refused = [](auto change) {
    OptimConfig c;
    change(c);
    EXPECT_THROW(c.validate(), UserError);
  };
  refused([](OptimConfig& c) { c.lr = -1; });
  refused([](OptimConfig& c) { c.lr = std::nan(""); });
  refused([](OptimConfig& c) { c.lr_scheduler = "cosine"; });  // no total-num-update
  for (const char* betas :
       {"", "0.9", "(0.9, 1.0)", "(0.9 0.98)", "(0.9, 0.98", "(0.9, 0.98) x", "(nan, 0)"})
    refused([&](OptimConfig& c) { c.adam_betas = betas; });
  EXPECT_EQ(parse_betas(" (0.9,0.98) "), std::make_pair(0.9, 0.98));
  EXPECT_EQ(parse_betas("0.8, 0.5"), std::make_pair(0.8, 0.5));
}

struct OneParam : Module {
  Param p = make_param({3}, {}, DType::F64), idle = make_param({1}, {Init::Ones}, DType::F64);
  void visit(ParamVisitor& v) override { v("p", p), v("idle", idle); }
};

TEST(Optimizer, AdamByHand) {
  for (bool decoupled : {false, true}) {
    OptimConfig c;
    c.optimizer = decoupled ? "adamw" : "adam";
    c.adam_betas = "(0.9, 0.98)", c.adam_eps = 1e-6, c.weight_decay = 0.1;
    OneParam model;
    model.p.var.set_data(Tensor::of<double>({1, -2, 3}));
    Optimizer adam(c);
    adam.set_parameters(parameters(model));
    std::vector<double> p{1, -2, 3}, m(3), v(3);
    for (int t = 1; t <= 3; ++t) {
      const double lr = 0.01 * t, gradient_scale = 0.5;
      Tensor g = Tensor::of<double>({0.3 * t, -0.7, 0.0});
      model.p.var.set_grad(g);
      adam.step(lr, gradient_scale);
      for (int i = 0; i < 3; ++i) {
        const double gi = gradient_scale * g.data<double>()[i];
        m[i] = 0.9 * m[i] + 0.1 * gi;
        v[i] = 0.98 * v[i] + 0.02 * gi * gi;
        p[i] *= 1 - lr * 0.1;
        const double c1 = 1 - std::pow(0.9, t), c2 = 1 - std::pow(0.98, t);
        if (decoupled) p[i] -= lr * (m[i] / c1) / (std::sqrt(v[i] / c2) + 1e-6);
        else p[i] -= lr * std::sqrt(c2) / c1 * m[i] / (std::sqrt(v[i]) + 1e-6);
        EXPECT_NEAR(model.p.var.data().data<double>()[i], p[i], 1e-12) << decoupled << t << i;
      }
    }
    std::vector<std::string> paths;
    for (const auto& [path, s] : adam.slots()) {
      paths.push_back(path);
      EXPECT_EQ(s.step.data<int64_t>()[0], 3);
    }
    EXPECT_NEAR(adam.slots().at("p").m.data<double>()[1], m[1], 1e-12);
    EXPECT_EQ(paths, (std::vector<std::string>{"idle", "p"}));
  }
}

TEST(Optimizer, AParameterWithoutGradientDecaysItsMoments) {
  OneParam model;
  initialize(model, 1);
  Optimizer adam{OptimConfig{}};
  adam.set_parameters(parameters(model));
  model.idle.var.set_grad(Tensor::of<double>({1.0}));
  adam.step(0.1, 1);
  model.idle.var.set_grad({});
  adam.step(0.1, 1);
  EXPECT_NEAR(adam.slots().at("idle").m.data<double>()[0], 0.1 * 0.9, 1e-12);
}

TEST(Optimizer, StateFollowsPathsWhenTheModelChanges) {
  OneParam model;
  initialize(model, 1);
  Optimizer adam{OptimConfig{}};
  adam.set_parameters(parameters(model));
  adam.step(0.1, 1);
  Param fresh = make_param({2}, {});
  adam.set_parameters({{"fresh", &fresh}, {"p", &model.p}});
  std::map<std::string, int64_t> steps;
  for (const auto& [path, s] : adam.slots()) steps[path] = s.step.data<int64_t>()[0];
  EXPECT_EQ(steps, (std::map<std::string, int64_t>{{"fresh", 0}, {"p", 1}}));
  Param other_shape = make_param({5}, {});
  EXPECT_THROW(adam.set_parameters({{"p", &other_shape}}), Error);
}

TEST(Clipping, BringsTheNormToTheLimit) {
  EXPECT_EQ(clip_factor(10, 0), 1);
  EXPECT_EQ(clip_factor(0.5, 1), 1);
  EXPECT_NEAR(clip_factor(10, 1), 0.1, 1e-7);
}

TEST(Learning, TheSmallModelLearnsOneBatch) {
  auto model = make_small(small_config(), DType::F32);
  OptimConfig c;
  Optimizer adam(c);
  const auto params = parameters(*model);
  adam.set_parameters(params);
  double first = 0, last = 0;
  for (int u = 0; u < 60; ++u) {
    ForwardContext ctx;
    ctx.training = true;
    const LossParts parts = loss_of(*model, ctx, 0.0);
    (u == 0 ? first : last) = value_of(parts.nll);
    for (auto& p : params) p.param->var.set_grad({});
    backward(parts.loss);
    adam.step(0.01, 1.0 / double(parts.tokens));
  }
  EXPECT_LT(last, 0.1 * first);
}

}  // namespace
}  // namespace switchyard
