#include "moe/methods/hmoe_config.h"

#include <algorithm>
#include <cmath>

#include "dist/mesh.h"

namespace switchyard::moe {
namespace {

SecondPolicy policy_of(const std::string& text, const char* option) {
  user_check(text == "all" || text == "sampling" || text == "random",
             concat("--", option, " is ", text, ", expected all, sampling or random"));
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
  int64_t sum = 0;
  std::istringstream in(hmoe_dynamic);
  for (std::string part; std::getline(in, part, ',');) {
    const bool digits = !part.empty() && part.size() < 9 &&
                        part.find_first_not_of("0123456789") == std::string::npos;
    user_check(digits && std::stoll(part) >= 1,
               concat("--hmoe-dynamic ", hmoe_dynamic, ": '", part,
                      "' is not a number of experts of at least 1"));
    sizes.push_back(std::stoll(part));
    sum += sizes.back();
  }
  user_check(int(sizes.size()) == L && hmoe_dynamic.back() != ',',
             concat("--hmoe-dynamic ", hmoe_dynamic, " names ", sizes.size(),
                    " strata, but --hmoe-layer is ", L));
  user_check(sum == moe_expert_count, concat("--hmoe-dynamic ", hmoe_dynamic, " sums to ", sum,
                                             ", but --moe-expert-count is ", moe_expert_count));
  return sizes;
}

GateOptions HmoeConfig::gate_options() const {
  return {.top_k = moe_top1_expert ? 1 : 2,
          .policy = policy_of(moe_second_expert_policy, "moe-second-expert-policy"),
          .eval_policy = policy_of(eval_second_expert_policy, "eval-second-expert-policy"),
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
  user_check(c.moe_type == "base",
             concat("--moe-type ", c.moe_type,
                    ": expert output masking and conditional routing are not built yet; ",
                    "use base or dense"));
  user_check(c.moe_expert_count >= 1,
             concat("--moe-expert-count is ", c.moe_expert_count, ", expected at least 1"));
  user_check(c.hmoe_layer >= 0 && c.hmoe_layer <= c.moe_expert_count,
             concat("--hmoe-layer is ", c.hmoe_layer,
                    ", expected 0 (vanilla MoE) to --moe-expert-count ", c.moe_expert_count));
  user_check(c.hmoe_layer > 0 || c.hmoe_dynamic.empty(),
             concat("--hmoe-dynamic ", c.hmoe_dynamic,
                    " needs strata, but --hmoe-layer is 0: give the number of strata"));
  c.strata();
  c.gate_options();
  dist::expert_layout(c.moe_expert_count, ranks);
  for (int every : {c.moe_freq, c.encoder_moe_freq, c.decoder_moe_freq})
    user_check(every >= 0, concat("--moe-freq is ", every, ", expected 0 (no experts) or more"));
  user_check(!c.moe_batch_prioritized_routing || c.hmoe_layer == 0,
             "--moe-batch-prioritized-routing works with vanilla MoE only: set --hmoe-layer 0");
  user_check(!c.moe_top1_expert || !c.moe_batch_prioritized_routing,
             "--moe-batch-prioritized-routing needs two choices: drop --moe-top1-expert");
  user_check(!c.moe_top1_expert || !c.moe_normalize_gate_prob_before_dropping,
             "--moe-normalize-gate-prob-before-dropping needs two choices: drop --moe-top1-expert");
  user_check(c.moe_normalize_expert_grad == "world_size",
             concat("--moe-normalize-expert-grad ", c.moe_normalize_expert_grad,
                    " is not built yet; use world_size"));
  const double factor = c.moe_capacity_factor.value_or(1);
  user_check(factor > 0 && std::isfinite(factor),
             concat("--moe-capacity-factor is ", factor, ", expected above 0"));
  user_check(
      std::isfinite(c.moe_eval_capacity_token_fraction) && c.moe_eval_capacity_token_fraction <= 1,
      concat("--moe-eval-capacity-token-fraction is ", c.moe_eval_capacity_token_fraction,
             ", expected at most 1 (<= 0: as in training)"));
  user_check(!c.moe_eval_capacity_max_seqlen || c.moe_eval_capacity_token_fraction > 0,
             "--moe-eval-capacity-max-seqlen needs --moe-eval-capacity-token-fraction above 0");
  user_check(std::isfinite(c.gate_loss_weight()) && c.gate_loss_weight() >= 0,
             concat("--moe-gate-loss-wt is ", c.gate_loss_weight(), ", expected 0 or more"));
}

}  // namespace switchyard::moe
