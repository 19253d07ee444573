// The block on one rank: strata, rounds, norms, and what its configuration refuses.
// specs/hmoe.md 2.7-2.11 and 7.7-7.13.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "tests/moe/small_block.h"

namespace switchyard::moe {
namespace {

struct Outcome {
  std::vector<double> y, aux;
  std::vector<int64_t> gates, taken;
};
Outcome forward(HmoeBlock& block, const Tensor& x, bool training = true) {
  ForwardContext ctx;
  ctx.training = training;
  ctx.layout.batch = 1;
  Outcome o;
  o.taken.assign(x.dim(0), 0);
  block.observer = [&](const RoundTrace& t) {
    o.gates.push_back(t.gate);
    for (int64_t i : t.token.to_vector<int64_t>()) ++o.taken[i];
  };
  o.y = doubles(block.forward(Var(x), {}, ctx).data());
  o.aux = doubles(ctx.losses.at(0).value.data());
  return o;
}

TEST(Hmoe, ParameterPaths) {
  on_one_rank([](const dist::Comm& world) {
    std::vector<std::string> paths;
    for (NamedParam& p : parameters(*block_of(config_of(4, 2), world))) paths.push_back(p.path);
    EXPECT_EQ(paths, (std::vector<std::string>{
                         "ffn_norm/bias", "ffn_norm/weight", "moe/experts/fc1/bias",
                         "moe/experts/fc1/weight", "moe/experts/fc2/bias", "moe/experts/fc2/weight",
                         "moe/gate/0/weight", "moe/gate/1/weight", "moe/stratum_norm/0/bias",
                         "moe/stratum_norm/0/weight", "moe/stratum_norm/1/bias",
                         "moe/stratum_norm/1/weight"}));
  });
}

TEST(Hmoe, OneStratumIsVanilla) {
  on_one_rank([](const dist::Comm& world) {
    const Tensor x = normal({17, kM}, 1);
    const Outcome vanilla = forward(*block_of(config_of(4, 0), world), x);
    HmoeConfig c = config_of(4, 1, "4");
    c.hmoe_layernorm = false;
    EXPECT_EQ(forward(*block_of(c, world), x).y, vanilla.y);  // bit for bit
    c.hmoe_layernorm = true;
    LayerNorm norm(kM, DType::F64);
    initialize(norm, 1);
    EXPECT_EQ(forward(*block_of(c, world), x).y,
              doubles(norm.forward(Var(Tensor::of(vanilla.y, {17, kM}))).data()));
  });
}

TEST(Hmoe, RoundsAndStrata) {
  on_one_rank([](const dist::Comm& world) {
    auto block = block_of(config_of(8, 4), world);
    std::vector<int64_t> last(50, -1);
    ForwardContext ctx;
    ctx.training = true;
    block->observer = [&](const RoundTrace& t) {
      for (int64_t i = 0; i < t.token.numel(); ++i) {
        const int64_t token = t.token.data<int64_t>()[i];
        EXPECT_GE(t.state[token], t.gate + 1);
        EXPECT_GT(t.state[token], last[token]);  // first-choice strata strictly increase
        last[token] = t.state[token];
      }
    };
    block->forward(Var(normal({50, kM}, 2)), {}, ctx);
    EXPECT_EQ(last, std::vector<int64_t>(50, 4));
    const auto counted = [&](const std::string& name) { return ctx.statistics.at("moe/" + name); };
    const double rounds = counted("rounds")[0] / counted("rounds")[1];
    EXPECT_GT(rounds, 1.2);
    EXPECT_LE(rounds, 4);
    EXPECT_EQ(counted("tokens_per_expert").size(), 8u);
    const std::vector<double> first = counted("first_choices"), gates = counted("tokens_per_round");
    EXPECT_EQ(std::accumulate(first.begin(), first.end(), 0.0), rounds * 50);
    EXPECT_EQ(std::accumulate(gates.begin(), gates.end(), 0.0), rounds * 50);
  });
}

// Norms that give a constant vector make the gates' choices those of their weights alone.
void force(HmoeBlock& block, const std::vector<int64_t>& column) {
  for (NamedParam& p : parameters(block)) {
    Tensor t = p.param->var.data();
    if (p.path.find("norm") != std::string::npos)
      fill(p.path.find("bias") != std::string::npos ? 1 : 0, t);
    if (p.path.rfind("moe/gate/", 0) != 0) continue;
    fill(0, t);
    const int64_t row = column.at(std::stoi(p.path.substr(9)));
    for (int64_t m = 0; m < kM; ++m) t.data<double>()[row * kM + m] = 10;
  }
}

TEST(Hmoe, ForcedGates) {
  on_one_rank([](const dist::Comm& world) {
    const Tensor x = normal({6, kM}, 3);
    auto block = block_of(config_of(6, 3), world);
    force(*block, {5, 0, 0});  // gate 0 sends all to the last stratum
    Outcome o = forward(*block, x);
    EXPECT_EQ(o.gates, (std::vector<int64_t>{0}));
    EXPECT_EQ(o.taken, std::vector<int64_t>(6, 1));
    force(*block, {0, 1, 0});  // each gate to its own stratum
    o = forward(*block, x);
    EXPECT_EQ(o.gates, (std::vector<int64_t>{0, 1, 2}));
    EXPECT_EQ(o.taken, std::vector<int64_t>(6, 3));
    EXPECT_NEAR(o.aux[0], (6 + 4 + 2) / 3.0,
                1e-6);         // collapsed gates, mean over the executed rounds
    force(*block, {1, 3, 0});  // stratum 0, then stratum 2: gate 2 is not run at all
    EXPECT_EQ(forward(*block, x).gates, (std::vector<int64_t>{0, 1}));
  });
}

TEST(Hmoe, ZeroExpertsLeaveTheNormsAlone) {
  on_one_rank([](const dist::Comm& world) {
    const Tensor x = normal({13, kM}, 4);
    HmoeConfig c = config_of(6, 3);
    auto zero = [](HmoeBlock& b) {
      for (NamedParam& p : parameters(b))
        if (p.path.find("experts") != std::string::npos) {
          Tensor t = p.param->var.data();
          fill(0, t);
        }
    };
    c.hmoe_layernorm = false;
    auto plain = block_of(c, world);
    zero(*plain);
    EXPECT_EQ(forward(*plain, x).y, doubles(x));
    c.hmoe_layernorm = true;
    auto normed = block_of(c, world);
    zero(*normed);
    const Outcome o = forward(*normed, x);
    LayerNorm norm(kM, DType::F64);  // all norms are still 1/0
    initialize(norm, 1);
    for (int64_t t = 0; t < 13; ++t) {
      Var v(x.slice(t, t + 1));
      for (int64_t k = 0; k < o.taken[t]; ++k) v = norm.forward(v);
      for (int64_t m = 0; m < kM; ++m)
        EXPECT_NEAR(o.y[t * kM + m], v.data().data<double>()[m], 1e-12);
    }
  });
}

TEST(Hmoe, ModesDifferInTheGateLossOnly) {
  on_one_rank([](const dist::Comm& world) {
    const Tensor x = normal({21, kM}, 5);
    HmoeConfig c = config_of(6, 3);
    c.moe_eval_capacity_token_fraction = 1;
    const Outcome own = forward(*block_of(c, world), x, false);
    c.only_compute_current_layer_tokens = false;
    const Outcome all = forward(*block_of(c, world), x, false);
    ASSERT_GT(own.gates.size(), 1u);
    EXPECT_EQ(own.y, all.y);
    EXPECT_GT(std::abs(own.aux[0] - all.aux[0]), 1e-3);
  });
}

TEST(Hmoe, RefusesWhatCannotWork) {
  const auto refused = [](const std::function<void(HmoeConfig&)>& change, int ranks,
                          const std::string& word) {
    HmoeConfig c = config_of(8, 2);
    change(c);
    try {
      validate(c, ranks);
      ADD_FAILURE() << "accepted: " << word;
    } catch (const UserError& e) {
      EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << e.what();
      EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos);
    }
  };
  validate(config_of(8, 2), 4);
  validate(config_of(8, 3, "4,3,1"), 16);
  validate(config_of(8, 0), 1);
  refused([](HmoeConfig& c) { c.hmoe_dynamic = "4,5"; }, 1, "sums to 9");
  refused([](HmoeConfig& c) { c.hmoe_dynamic = "4,2,2"; }, 1, "3 strata");
  refused([](HmoeConfig& c) { c.hmoe_dynamic = "8,0"; }, 1, "'0'");
  refused([](HmoeConfig& c) { c.hmoe_dynamic = "4,x"; }, 1, "'x'");
  refused([](HmoeConfig& c) { c.hmoe_dynamic = "4,4,"; }, 1, "hmoe-dynamic");
  refused([](HmoeConfig& c) { c.hmoe_layer = 3; }, 1, "not divisible");
  refused([](HmoeConfig& c) { c.hmoe_layer = -1; }, 1, "--hmoe-layer is -1");
  refused([](HmoeConfig& c) { c.hmoe_layer = 0, c.hmoe_dynamic = "4,4"; }, 1, "--hmoe-layer is 0");
  refused([](HmoeConfig& c) { c.moe_expert_count = 0; }, 1, "moe-expert-count");
  refused([](HmoeConfig&) {}, 3, "8");
  refused([](HmoeConfig& c) { c.gate.by_priority = true; }, 1, "vanilla");
  refused([](HmoeConfig& c) { c.gate.top1 = c.gate.normalize_before_drop = true; }, 1, "top1");
  refused([](HmoeConfig& c) { c.moe_type = "cmr"; }, 1, "conditional routing");
  refused([](HmoeConfig& c) { c.moe_type = "eom-cmr"; }, 1, "--hmoe-layer 0");
  refused([](HmoeConfig& c) { c.moe_cmr = true; }, 1, "vanilla");
  refused([](HmoeConfig& c) { c.moe_eom = 1; }, 1, "moe-eom");
  refused([](HmoeConfig& c) { c.moe_local_drop = -0.1; }, 1, "moe-local-drop");
  refused([](HmoeConfig& c) { c.cmr_gate_loss_p = 1.5; }, 1, "cmr-gate-loss-p");
  HmoeConfig both = config_of(8, 0);
  both.moe_type = "eom-cmr";
  validate(both, 2);
  EXPECT_EQ(both.eom(), 0.1);
  EXPECT_TRUE(both.cmr());
  EXPECT_EQ(both.cmr_loss_weight(), 0.01);
  both.moe_eom = 0.3, both.moe_cmr = false;  // what is given holds
  EXPECT_EQ(both.eom(), 0.3);
  EXPECT_FALSE(both.cmr());
  refused([](HmoeConfig& c) { c.moe_capacity_factor = 0; }, 1, "moe-capacity-factor");
  refused([](HmoeConfig& c) { c.moe_eval_capacity_token_fraction = NAN; }, 1, "token-fraction");
}

TEST(Hmoe, WhichLayersHaveExperts) {
  HmoeConfig c;
  c.moe_freq = 2;
  for (int layer = 0; layer < 6; ++layer) EXPECT_EQ(c.has_experts(false, layer), layer % 2 == 1);
  c.decoder_moe_freq = 3;  // the larger of general and specific
  EXPECT_TRUE(c.has_experts(true, 2));
  EXPECT_FALSE(c.has_experts(true, 1));
  c.moe_type = "dense";
  EXPECT_FALSE(c.has_experts(false, 1));
}

}  // namespace
}  // namespace switchyard::moe
