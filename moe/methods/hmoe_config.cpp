#include "moe/methods/hmoe_config.h"

#include "dist/mesh.h"

namespace switchyard::moe {
namespace {

SecondPolicy policy_of(const std::string& text) {  // one of the three: the option's choices
  return text == "all"        ? SecondPolicy::All
         : text == "sampling" ? SecondPolicy::Sampling
                              : SecondPolicy::Random;
}

}  // namespace

bool HmoeConfig::has_experts(bool decoder, int layer) const {
  const int every =
      moe_type == "dense" ? 0 : std::max(moe_freq, decoder ? decoder_moe_freq : encoder_moe_freq);
  return every > 0 && (layer + 1) % every == 0;
}

std::vector<int64_t> HmoeConfig::strata() const {
  const int L = std::max(hmoe_layer, 1);
  if (hmoe_layer == 0 || hmoe_dynamic.empty()) {
    user_check(moe_expert_count % L == 0,
               concat("--moe-expert-count ", moe_expert_count, " is not divisible by --hmoe-layer ",
                      L, ": give the experts of each stratum with --hmoe-dynamic"));
    return std::vector<int64_t>(L, moe_expert_count / L);
  }
  std::vector<int64_t> sizes;
  std::istringstream in(hmoe_dynamic + ",");  // a closing comma opens one more part
  for (std::string part; std::getline(in, part, ',');) {
    const bool number = part.size() <= 9 && part.find_first_not_of("0123456789") == part.npos;
    sizes.push_back(number && !part.empty() ? std::stoi(part) : 0);
    user_check(sizes.back() >= 1, concat("--hmoe-dynamic ", hmoe_dynamic, ": '", part,
                                         "' is not a number of experts of at least 1"));
  }
  user_check(int(sizes.size()) == L, concat("--hmoe-dynamic ", hmoe_dynamic, " names ",
                                            sizes.size(), " strata, but --hmoe-layer is ", L));
  const int64_t sum = std::accumulate(sizes.begin(), sizes.end(), int64_t(0));
  user_check(sum == moe_expert_count, concat("--hmoe-dynamic ", hmoe_dynamic, " sums to ", sum,
                                             ", but --moe-expert-count is ", moe_expert_count));
  return sizes;
}

GateOptions HmoeConfig::gate_options() const {
  return {.top_k = moe_top1_expert ? 1 : 2,
          .policy = policy_of(moe_second_expert_policy),
          .eval_policy = policy_of(eval_second_expert_policy),
          .normalize_before_drop = moe_normalize_gate_prob_before_dropping,
          .by_priority = moe_batch_prioritized_routing,
          .fp32 = moe_gating_use_fp32};
}

CapacityRule HmoeConfig::capacity_rule(int64_t max_positions) const {
  return {.factor = moe_capacity_factor.value_or(moe_top1_expert ? 1 : 2),
          .eval_fraction = moe_eval_capacity_token_fraction,
          .eval_positions = moe_eval_capacity_max_seqlen ? max_positions : 0};
}

void validate(const HmoeConfig& c, int ranks) {
  if (c.moe_type == "dense") return;
  const int lowest_freq = std::min({c.moe_freq, c.encoder_moe_freq, c.decoder_moe_freq});
  const double factor = c.moe_capacity_factor.value_or(1);
  const double fraction = c.moe_eval_capacity_token_fraction;
  const auto expect = [](bool ok, const char* option, auto value, const std::string& expected) {
    user_check(ok, concat("--", option, " is ", value, ", expected ", expected));
  };
  expect(c.moe_expert_count >= 1, "moe-expert-count", c.moe_expert_count, "at least 1");
  expect(c.hmoe_layer >= 0 && c.hmoe_layer <= c.moe_expert_count, "hmoe-layer", c.hmoe_layer,
         concat("0 (vanilla MoE) to --moe-expert-count ", c.moe_expert_count));
  expect(lowest_freq >= 0, "moe-freq", lowest_freq, "0 (no experts) or more");
  expect(factor > 0, "moe-capacity-factor", factor, "above 0");
  expect(fraction <= 1, "moe-eval-capacity-token-fraction", fraction,
         "at most 1 (<= 0: as in training)");
  expect(c.moe_gate_loss_wt >= 0, "moe-gate-loss-wt", c.moe_gate_loss_wt, "0 or more");
  const std::pair<const char*, double> rates[] = {{"moe-eom", c.eom()},
                                                  {"moe-fom", c.moe_fom},
                                                  {"moe-local-drop", c.moe_local_drop},
                                                  {"cmr-gate-drop", c.cmr_gate_drop}};
  for (const auto& [option, rate] : rates)
    expect(rate >= 0 && rate < 1, option, rate, "at least 0 and below 1");
  expect(c.cmr_gate_loss_p >= 0 && c.cmr_gate_loss_p <= 1, "cmr-gate-loss-p", c.cmr_gate_loss_p,
         "0 to 1");
  expect(c.cmr_loss_weight() >= 0, "cmr-gate-loss-wt", c.cmr_loss_weight(), "0 or more");
  c.strata();
  dist::expert_layout(c.moe_expert_count, ranks);

  const std::pair<bool, const char*> conflicts[] = {
      {c.cmr() && c.hmoe_layer > 0,
       "conditional routing (--moe-cmr, --moe-type cmr) works with vanilla MoE only: set "
       "--hmoe-layer 0, or leave it out"},
      {c.hmoe_layer == 0 && !c.hmoe_dynamic.empty(),
       "--hmoe-dynamic needs strata, but --hmoe-layer is 0: give the number of strata"},
      {c.hmoe_layer > 0 && c.moe_batch_prioritized_routing,
       "--moe-batch-prioritized-routing works with vanilla MoE only: set --hmoe-layer 0"},
      {c.moe_top1_expert && c.moe_batch_prioritized_routing,
       "--moe-batch-prioritized-routing needs two choices: drop --moe-top1-expert"},
      {c.moe_top1_expert && c.moe_normalize_gate_prob_before_dropping,
       "--moe-normalize-gate-prob-before-dropping needs two choices: drop --moe-top1-expert"},
      {c.moe_eval_capacity_max_seqlen && fraction <= 0,
       "--moe-eval-capacity-max-seqlen needs --moe-eval-capacity-token-fraction above 0"}};
  for (const auto& [found, message] : conflicts) user_check(!found, message);
}

}  // namespace switchyard::moe
