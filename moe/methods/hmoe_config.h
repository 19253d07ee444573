// Options of HMoE and of its vanilla MoE baseline, with the reference's names. specs/hmoe.md 3.
#pragma once
#include <optional>
#include <sstream>

#include "dist/mesh.h"
#include "moe/plan.h"
#include "moe/router.h"

namespace switchyard::moe {

struct HmoeConfig {
  std::string moe_type = "base";
  int moe_expert_count = 8, hmoe_layer = 1;
  std::string hmoe_dynamic;
  bool hmoe_layernorm = true, only_compute_current_layer_tokens = true;
  int moe_freq = 2, encoder_moe_freq = 0, decoder_moe_freq = 0;
  double moe_gate_loss_wt = 0.01;
  std::string moe_gate_loss_combine_method = "average";
  GateOptions gate{.fp32 = true};
  std::optional<double> moe_capacity_factor;
  double moe_eval_capacity_token_fraction = 0.25;
  bool moe_eval_capacity_max_seqlen = false;
  std::string moe_normalize_expert_grad = "world_size";
  std::string moe_exchange = "rows";
  std::optional<double> moe_eom, cmr_gate_loss_wt;  // unset: what --moe-type says
  std::optional<bool> moe_cmr;
  double moe_fom = 0, moe_local_drop = 0, cmr_gate_drop = 0, cmr_gate_loss_p = 0.8;
  bool moe_cmr_xgpu = false, use_moe_pad_mask = false;
  std::string not_built = "0";  // options of the reference, see below

  template <class V>
  void visit(V&& v) {
    v.group("Mixture of experts");
    v(moe_type, "moe-type",
      "base: MoE or HMoE; with masking (eom), with a shared FFN (cmr); dense: no experts",
      {"base", "dense", "eom", "cmr", "eom-cmr"});
    v(moe_expert_count, "moe-expert-count", "experts of a block, all strata and ranks together");
    v(hmoe_layer, "hmoe-layer", "strata; 0 = vanilla MoE");
    v(hmoe_dynamic, "hmoe-dynamic", "experts of each stratum, e.g. 4,4,8; empty = equal");
    v(hmoe_layernorm, "hmoe-layernorm", "a LayerNorm after each stratum");
    v(only_compute_current_layer_tokens, "only-compute-current-layer-tokens",
      "capacity and gate loss of a round count its own tokens only; 0 = all tokens");
    v(moe_freq, "moe-freq", "every n-th layer has experts; 0 = none");
    v(encoder_moe_freq, "encoder-moe-freq", "the same for the encoder; the larger one holds");
    v(decoder_moe_freq, "decoder-moe-freq", "the same for the decoder; the larger one holds");
    v(moe_gate_loss_wt, "moe-gate-loss-wt", "weight of the load-balancing loss");
    v(moe_gate_loss_combine_method, "moe-gate-loss-combine-method", "gate loss over blocks",
      {"average", "sum"});
    v(gate.top1, "moe-top1-expert", "one expert for each token (Switch) instead of two");
    v(moe_capacity_factor, "moe-capacity-factor",
      "slots = factor x rows / experts (top-2: 2, top-1: 1)");
    v(gate.policy, "moe-second-expert-policy", "second choice in training",
      {"all", "sampling", "random"});
    v(gate.eval_policy, "eval-second-expert-policy", "second choice in evaluation",
      {"all", "sampling", "random"});
    v(gate.normalize_before_drop, "moe-normalize-gate-prob-before-dropping",
      "divide the two gate values by their sum before dropping instead of after");
    v(gate.fp32, "moe-gating-use-fp32", "gate scores in fp32");
    v(gate.by_priority, "moe-batch-prioritized-routing",
      "surer tokens are served first (vanilla MoE only)");
    v(moe_eval_capacity_token_fraction, "moe-eval-capacity-token-fraction",
      "evaluation: slots of an expert as a share of the rows; <= 0: as in training");
    v(moe_eval_capacity_max_seqlen, "moe-eval-capacity-max-seqlen",
      "evaluation: the share is of sentences x largest length");
    v(moe_normalize_expert_grad, "moe-normalize-expert-grad", "scaling of expert gradients",
      {"world_size", "sqrt_world_size"});
    v(moe_exchange, "moe-exchange",
      "rows: only real rows travel; padded: all slots, as the reference", {"rows", "padded"});
    v(moe_eom, "moe-eom",
      "expert output masking: share of masked choices (types eom, eom-cmr: 0.1)");
    v(moe_fom, "moe-fom", "final output masking: share of tokens whose experts' sum is masked");
    v(moe_local_drop, "moe-local-drop", "share of training rounds without exchange");
    v(moe_cmr, "moe-cmr", "conditional routing: a gate mixes a shared FFN and the MoE (types cmr)");
    v(cmr_gate_drop, "cmr-gate-drop", "dropout of the CMR gate");
    v(cmr_gate_loss_wt, "cmr-gate-loss-wt", "weight of the CMR budget loss (types cmr: 0.01)");
    v(cmr_gate_loss_p, "cmr-gate-loss-p", "CMR budget: wanted share of the MoE");
    v(moe_cmr_xgpu, "moe-cmr-xgpu", "the CMR budget counts the tokens of all ranks");
    v(use_moe_pad_mask, "use-moe-pad-mask", "padding enters no round; 0 = routed like tokens");
    for (const char* name : {"moe-expert-ffn-dim", "alternate-ffn-embed-dim"})
      v(not_built, name, "not built: only the neutral value, which the reference's scripts pass",
        {"0"});
    for (const char* name :
         {"use-tutel-moe", "record-a2a-perf-stats", "dummy-a2a", "cmr-log-lang-gates"})
      v.accepted(name, "an alternative kernel or statistic of the reference");
  }

  // layer from 0
  bool has_experts(bool decoder, int layer) const {
    const int every =
        moe_type == "dense" ? 0 : std::max(moe_freq, decoder ? decoder_moe_freq : encoder_moe_freq);
    return every > 0 && (layer + 1) % every == 0;
  }
  // Experts of each stratum; vanilla: {E}
  std::vector<int64_t> strata() const {
    const int L = std::max(hmoe_layer, 1);
    if (hmoe_layer == 0 || hmoe_dynamic.empty()) {
      user_check(
          moe_expert_count % L == 0,
          concat("--moe-expert-count ", moe_expert_count, " is not divisible by --hmoe-layer ", L,
                 ": give the experts of each stratum with --hmoe-dynamic"));
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
  CapacityRule capacity_rule(int64_t max_positions) const {
    return {.factor = moe_capacity_factor.value_or(gate.top1 ? 1 : 2),
            .eval_fraction = moe_eval_capacity_token_fraction,
            .eval_positions = moe_eval_capacity_max_seqlen ? max_positions : 0};
  }
  // --moe-type, unless the option itself was given
  double eom() const { return moe_eom.value_or(moe_type.starts_with("eom") ? 0.1 : 0); }
  bool cmr() const { return moe_cmr.value_or(moe_type.ends_with("cmr")); }
  double cmr_loss_weight() const {
    return cmr_gate_loss_wt.value_or(moe_type.ends_with("cmr") ? 0.01 : 0);
  }
};

// Throws UserError for what cannot work, before anything is built.
inline void validate(const HmoeConfig& c, int ranks) {
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
      {c.hmoe_layer > 0 && c.gate.by_priority,
       "--moe-batch-prioritized-routing works with vanilla MoE only: set --hmoe-layer 0"},
      {c.gate.top1 && c.gate.by_priority,
       "--moe-batch-prioritized-routing needs two choices: drop --moe-top1-expert"},
      {c.gate.top1 && c.gate.normalize_before_drop,
       "--moe-normalize-gate-prob-before-dropping needs two choices: drop --moe-top1-expert"},
      {c.moe_eval_capacity_max_seqlen && fraction <= 0,
       "--moe-eval-capacity-max-seqlen needs --moe-eval-capacity-token-fraction above 0"}};
  for (const auto& [found, message] : conflicts) user_check(!found, message);
}

}  // namespace switchyard::moe
