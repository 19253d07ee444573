// Options of HMoE and of its vanilla MoE baseline, with the reference's names. specs/hmoe.md 3.
#pragma once
#include <optional>

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
  bool moe_top1_expert = false;
  std::optional<double> moe_capacity_factor;
  std::string moe_second_expert_policy = "sampling", eval_second_expert_policy = "all";
  bool moe_normalize_gate_prob_before_dropping = false, moe_gating_use_fp32 = true;
  bool moe_batch_prioritized_routing = false;
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
    v(moe_top1_expert, "moe-top1-expert", "one expert for each token (Switch) instead of two");
    v(moe_capacity_factor, "moe-capacity-factor",
      "slots = factor x rows / experts (top-2: 2, top-1: 1)");
    v(moe_second_expert_policy, "moe-second-expert-policy", "second choice in training",
      {"all", "sampling", "random"});
    v(eval_second_expert_policy, "eval-second-expert-policy", "second choice in evaluation",
      {"all", "sampling", "random"});
    v(moe_normalize_gate_prob_before_dropping, "moe-normalize-gate-prob-before-dropping",
      "divide the two gate values by their sum before dropping instead of after");
    v(moe_gating_use_fp32, "moe-gating-use-fp32", "gate scores in fp32");
    v(moe_batch_prioritized_routing, "moe-batch-prioritized-routing",
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

  bool has_experts(bool decoder, int layer) const;  // layer from 0
  std::vector<int64_t> strata() const;              // experts of each stratum; vanilla: {E}
  GateOptions gate_options() const;
  CapacityRule capacity_rule(int64_t max_positions) const;
  // --moe-type, unless the option itself was given
  double eom() const { return moe_eom.value_or(moe_type.starts_with("eom") ? 0.1 : 0); }
  bool cmr() const { return moe_cmr.value_or(moe_type.ends_with("cmr")); }
  double cmr_loss_weight() const {
    return cmr_gate_loss_wt.value_or(moe_type.ends_with("cmr") ? 0.01 : 0);
  }
};

// Throws UserError for what cannot work, before anything is built.
void validate(const HmoeConfig& config, int ranks);

}  // namespace switchyard::moe
