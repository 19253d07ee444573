// Parameters, FLOPs and the routing report: against counts made by hand, real models, the publication's figures,
// and the counters of real batches.
#include <gtest/gtest.h>

#include "apps/common/routing_report.h"
#include "dist/runtime.h"

namespace switchyard {
namespace {

HmoeAppConfig config_of(const std::vector<std::string>& args) {
  HmoeAppConfig c;
  std::vector<std::string> all = {"--preset", "tiny"};
  all.insert(all.end(), args.begin(), args.end());
  parse_flags(option_list(c), all, "test", "", hmoe_presets());
  return c;
}

// 2 + 2 layers, M = 4, F = 6, V = 10; layer 1 of each side has 4 experts in 2 strata.
HmoeAppConfig hand_config() {
  return config_of({"--encoder-embed-dim", "4", "--decoder-embed-dim", "4",
                    "--encoder-ffn-embed-dim", "6", "--decoder-ffn-embed-dim", "6",
                    "--moe-expert-count", "4", "--hmoe-layer", "2"});
}

TEST(ModelCost, ByHand) {
  const HmoeAppConfig c = hand_config();
  const ModelUse use = {{"encoder/1/moe", {{1, 0.5}, 3}}, {"decoder/1/moe", {{1, 0.25}, 2}}};
  const ModelCost cost = model_cost(c.model, c.hmoe, 10, use);
  const auto expect = [](const Cost& got, double parameters, double active, double flops) {
    EXPECT_DOUBLE_EQ(got.parameters, parameters);
    EXPECT_DOUBLE_EQ(got.active, active);
    EXPECT_DOUBLE_EQ(got.flops, flops);
  };
  expect(cost.at("embedding"), 40, 40, 80);
  expect(cost.at("attention"), 480, 480, 768);  // 2 + 4 attentions of 4 (4 4 + 4)
  expect(cost.at("ffn"), 116, 116, 192);        // 2 of 4 6 + 6 + 6 4 + 4
  expect(cost.at("experts"), 464, 5 * 58, 2 * 5 * 48);
  expect(cost.at("gates"), 48, 38, 76);             // 16 + 8 a block; 16 + 0.5 8 + 16 + 0.25 8
  expect(cost.at("norms"), 128, 96 + 8 * 2.75, 0);  // 10 + 2 last ones; 4 of strata
  expect(total(cost), 1276, 1082, 1596);
  EXPECT_EQ(attention_flops_per_key(c.model), 6 * (8 + 8));
}

TEST(ModelCost, CountsTheParametersOfEveryKindOfModel) {
  const std::vector<std::vector<std::string>> kinds = {
      {"--moe-type", "dense"},
      {"--moe-freq", "0"},
      {"--hmoe-layer", "0"},
      {"--hmoe-layer", "0", "--moe-top1-expert"},
      {"--hmoe-layer", "3", "--hmoe-dynamic", "1,3,4"},
      {"--hmoe-layer", "2", "--hmoe-layernorm", "0", "--moe-type", "eom"},
      {"--hmoe-layer", "0", "--moe-type", "cmr"},
      {"--decoder-moe-freq", "1", "--moe-freq", "0", "--encoder-normalize-before", "0"},
      {"--moe-freq", "1", "--decoder-layers", "3", "--decoder-ffn-embed-dim", "20"}};
  for (const auto& kind : kinds) {
    const HmoeAppConfig c = config_of(kind);
    const std::string what = kind[0] + " " + kind[1];
    dist::run_ranks(2, [&](dist::Runtime& runtime) {
      const auto model = make_hmoe_model(c, 50, make_hmoe_mesh(c, runtime.world));
      if (runtime.world.rank() != 0) return;
      ModelCost cost = model_cost(c.model, c.hmoe, 50, assumed_use(c.model, c.hmoe));
      EXPECT_EQ(total(cost).parameters, parameter_count(*model)) << what;
      int64_t experts = 0;
      for (const NamedParam& p : parameters(*model))
        if (p.param->placement == Placement::ExpertSharded)
          experts += numel_of(p.param->global_shape());
      EXPECT_EQ(cost["experts"].parameters, experts) << what;
      const double k = c.hmoe.gate.top1 ? 1 : 2;
      EXPECT_DOUBLE_EQ(cost["experts"].active, double(experts) / 8 * k) << what;
    });
  }
}

// specs/hmoe.md 7, item 16, and the tables of section 5: V = 32k.
TEST(Acceptance16, ParametersAndFlopsOfThePublishedModels) {
  struct Row {
    std::string sizes, options;
    double rounds, parameters, extra_flops;  // beyond dense, millions
  };
  const std::vector<Row> rows = {
      {"m4", "--moe-type dense", 1, 60, 0},
      {"m4", "--hmoe-layer 0", 1, 148, 25},
      {"m4", "--hmoe-layer 0 --moe-top1-expert", 1, 148, 0},
      {"m4", "--hmoe-layer 0 --moe-type cmr", 1, 161, 50},
      {"m4", "--hmoe-layer 2", 1.5, 148, 50},
      {"m4", "--hmoe-layer 4", 2.1, 148, 80},
      {"m15", "--moe-type dense", 1, 209, 0},
      {"m15", "--hmoe-layer 0 --hmoe-dynamic=", 1, 963, 100},
      {"m15", "--hmoe-layer 0 --hmoe-dynamic= --moe-type cmr", 1, 1010, 201},
      {"m15", "--hmoe-dynamic 4,12", 1.25, 963, 150},
      {"m15", "--hmoe-layer 0 --hmoe-dynamic= --moe-expert-count 32", 1, 1770, 100}};
  for (const Row& row : rows) {
    std::vector<std::string> args = {"--preset", row.sizes};
    std::istringstream words(row.options);
    for (std::string word; words >> word;) args.push_back(word);
    HmoeAppConfig c, dense;
    parse_flags(option_list(c), args, "test", "", hmoe_presets());
    dense = c;
    dense.hmoe.moe_type = "dense";
    ModelCost cost = model_cost(c.model, c.hmoe, 32000, assumed_use(c.model, c.hmoe, row.rounds));
    const std::string what = row.sizes + " " + row.options;
    EXPECT_NEAR(total(cost).parameters / 1e6, row.parameters, 0.015 * row.parameters) << what;
    const double extra = total(cost).flops - cost["gates"].flops -
                         total(model_cost(dense.model, dense.hmoe, 32000, {})).flops;
    EXPECT_NEAR(extra / 1e6, row.extra_flops, 2.5) << what;
    EXPECT_LE(cost["gates"].flops, 1e-3 * total(cost).flops) << what;  // "negligible"
    if (c.hmoe.moe_type == "dense") continue;
    const double blocks = 6, M = c.model.encoder_embed_dim, F = c.model.encoder_ffn_embed_dim;
    const double k = c.hmoe.gate.top1 ? 1 : 2, shared = c.hmoe.cmr() ? 1 : 0;
    EXPECT_NEAR(extra / (blocks * 4 * M * F * (k * row.rounds - 1 + shared) + 1e-9),
                extra == 0 ? 0 : 1, 1e-9)
        << what;
  }
}

struct Measured {
  Statistics statistics;                                // of all ranks
  double source_tokens = 0, positions = 0, target = 0;  // of all batches, language tokens included
  nlohmann::json report;
};
// One evaluation pass over the synthetic test split, all directions in each batch, before any training.
Measured measure(const HmoeAppConfig& c, int ranks, int32_t direction = -1) {
  static const auto source = open_source(c.data, 1);
  Measured m;
  dist::run_ranks(ranks, [&](dist::Runtime& runtime) {
    const dist::Comm& world = runtime.world;
    const auto model = make_hmoe_model(c, source->vocabulary_size(), make_hmoe_mesh(c, world));
    initialize(*model, 1);
    const EvalBatches batches(source, c.data, Split::Test, direction, 100000, 40, world.rank(),
                              world.size());
    const ValidResult found = evaluate_loss(*model, batches, criterion_options(c), world);
    Sums sizes = {{"source", 0}, {"positions", 0}, {"target", 0}};
    for (int64_t i = 0; i < batches.size(); ++i) {
      const TranslationBatch b = batches[i];
      sizes["source"] += double(b.source_tokens);
      sizes["target"] += double(b.target_tokens);
      sizes["positions"] += double(b.sentences * b.source_time);
    }
    sum_over_ranks(world, sizes);
    const Statistics all = sum_over_ranks(world, found.statistics);
    if (world.rank() != 0) return;
    m = {all, sizes["source"], sizes["positions"], sizes["target"],
         routing_report(c, source->vocabulary_size(), source->directions(), all)};
  });
  return m;
}

HmoeAppConfig measured_config(std::vector<std::string> args = {}) {
  args.insert(args.begin(), {"--hmoe-layer", "4", "--moe-eval-capacity-token-fraction", "1"});
  return config_of(args);
}

// The two halves of [rounds, tokens, rounds, tokens, ...], summed.
std::pair<double, double> sum_of_groups(const std::vector<double>& v) {
  std::pair<double, double> sum;
  for (size_t i = 0; i < v.size(); i += 2) sum.first += v[i], sum.second += v[i + 1];
  return sum;
}

TEST(RoutingReport, DirectionsSumToTheBlocksTotals) {
  const Measured plain = measure(measured_config(), 1);
  const auto tokens = [&](const std::string& path) {
    return sum_of_groups(plain.statistics.at(path + "/rounds_by_group")).second;
  };
  EXPECT_EQ(tokens("encoder/1/moe"), plain.source_tokens);
  EXPECT_EQ(tokens("decoder/1/moe"), plain.target);
  EXPECT_EQ(plain.statistics.at("encoder/1/moe/rounds")[1], plain.positions);
  EXPECT_GT(plain.positions, plain.source_tokens) << "no padding: the test shows less";

  const Measured masked = measure(measured_config({"--use-moe-pad-mask", "1"}), 1);
  for (const std::string path : {"encoder/1/moe", "decoder/1/moe"}) {
    const auto [rounds, counted] = sum_of_groups(masked.statistics.at(path + "/rounds_by_group"));
    EXPECT_EQ(rounds, masked.statistics.at(path + "/rounds")[0]);
    EXPECT_EQ(counted, masked.statistics.at(path + "/rounds")[1]);
    // nobody else routes a real token otherwise, when nothing is dropped
    EXPECT_EQ(masked.statistics.at(path + "/rounds_by_group"),
              plain.statistics.at(path + "/rounds_by_group"));
  }
}

TEST(RoutingReport, MixedBatchesGiveTheDirectionsOfSeparateOnes) {
  const Measured mixed = measure(measured_config(), 1), alone = measure(measured_config(), 1, 5);
  for (size_t b : {0, 1}) {
    const auto& by_direction = mixed.report["blocks"][b]["rounds_by_direction"];
    EXPECT_EQ(by_direction.size(), 12u);
    const auto& one = alone.report["blocks"][b]["rounds_by_direction"];
    ASSERT_EQ(one.size(), 1u);
    EXPECT_NEAR(one.begin().value(), by_direction[one.begin().key()], 1e-12);
  }
}

TEST(RoutingReport, FlopsFollowTheRoundsWhenNothingIsDropped) {
  for (const std::string top1 : {"0", "1"}) {
    const HmoeAppConfig c = measured_config({"--moe-top1-expert", top1});
    const Measured m = measure(c, 1);
    const double k = top1 == "1" ? 1 : 2, M = 32, F = 64;
    double flops = m.report["dense"]["flops_per_token"];
    flops += m.report["parts"]["gates"]["flops_per_token"].get<double>();
    for (const auto& b : m.report["blocks"]) {
      const double rounds = b["rounds_per_token"];
      EXPECT_GT(rounds, 1.05);
      EXPECT_LT(rounds, 3.95);
      EXPECT_NEAR(b["experts_per_token"].get<double>(), k * rounds, 1e-12);
      EXPECT_EQ(b["dropped"], nlohmann::json({0.0, 0.0}));
      flops += 4 * M * F * (k * rounds - 1);
    }
    EXPECT_NEAR(m.report["flops_per_token"].get<double>(), flops, 1e-6);
  }
}

TEST(RoutingReport, SameAtEveryNumberOfRanks) {
  const Measured one = measure(measured_config(), 1);
  for (int ranks : {2, 4}) EXPECT_EQ(measure(measured_config(), ranks).report, one.report) << ranks;
}

TEST(RoutingReport, ByHand) {
  const HmoeAppConfig c = hand_config();
  const std::string d = "decoder/1/moe/";
  const std::vector<Direction> directions = {{"a", "b"}, {"c", "b"}, {"b", "a"}};
  const Statistics s = {{d + "rounds", {15, 10}},
                        {d + "tokens_per_round", {10, 5}},
                        {d + "tokens_per_expert", {6, 2, 9, 3}},
                        {d + "asked", {15, 15}},
                        {d + "over_capacity", {3, 6}},
                        {d + "rounds_by_group", {6, 4, 5, 3}}};
  const nlohmann::json r = routing_report(c, 10, directions, s);
  const nlohmann::json& b = r["blocks"][1];
  EXPECT_EQ(b["path"], "decoder/1/moe");
  EXPECT_EQ(b["rounds_per_token"], 1.5);
  EXPECT_EQ(b["experts_per_token"], 2.0);
  EXPECT_EQ(b["dropped"], nlohmann::json({0.2, 0.4}));
  EXPECT_EQ(b["rounds_by_direction"], nlohmann::json({{"a-b", 1.5}, {"c-b", 5.0 / 3}}));
  EXPECT_EQ(b["rounds_by_language"], nlohmann::json({{"b", 11.0 / 7}}));
  EXPECT_EQ(b["strata"][0], nlohmann::json({{"first_expert", 0},
                                            {"share", 0.4},
                                            {"experts", {0.75, 0.25}},
                                            {"max_over_mean", 1.5}}));
  EXPECT_EQ(b["strata"][1]["share"], 0.6);
  EXPECT_EQ(r["blocks"][0]["rounds_per_token"], 0.0);  // the encoder saw nothing
  const std::string text = routing_text(r);
  for (const char* part : {"a-b                -      1.500", "75.0 25.0", "20.0", "40.0"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
}

}  // namespace
}  // namespace switchyard
