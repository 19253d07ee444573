// What a model costs, from its sizes and from how its tokens were routed: parameters, those that a token
// meets, and forward FLOPs per token. A token here is one position of the source through the encoder and one
// of the target through the decoder, as in specs/hmoe.md 5: 2 FLOPs per weight,
//   FLOPs = dense + blocks 4 M F (k RC - 1),  RC = rounds per token,
// with the measured expert applications in the place of k RC (they lack what was dropped), and the gates.
// Not counted: norms, softmax, and attention's products with each key (attention_flops_per_key).
#pragma once
#include "moe/methods/hmoe_config.h"
#include "nn/transformer.h"

namespace switchyard {

// Means over the tokens of a block.
struct BlockUse {
  std::vector<double> gates;  // [L] share of tokens that entered each gate; the sum is RC
  double experts = 0;         // applications of an expert to a token
  double rounds() const { return std::accumulate(gates.begin(), gates.end(), 0.0); }
};
using ModelUse = std::map<std::string, BlockUse>;  // by path, "encoder/1/moe"

// Paths of the blocks with experts, in the order of the forward pass.
inline std::vector<std::string> moe_paths(const ModelConfig& m, const moe::HmoeConfig& hmoe) {
  std::vector<std::string> paths;
  for (const bool decoder : {false, true})
    for (int i = 0; i < (decoder ? m.decoder_layers : m.encoder_layers); ++i)
      if (hmoe.has_experts(decoder, i))
        paths.push_back(concat(decoder ? "decoder/" : "encoder/", i, "/moe"));
  return paths;
}

// Of a block's counters (moe/balance.h); zeros where a block counted nothing.
inline ModelUse measured_use(const ModelConfig& m, const moe::HmoeConfig& hmoe,
                             const Statistics& s) {
  ModelUse use;
  const auto counted = [&](const std::string& name) {
    const auto found = s.find(name);
    return found == s.end() ? std::vector<double>() : found->second;
  };
  for (const std::string& path : moe_paths(m, hmoe)) {
    BlockUse& u = use[path];
    u.gates = counted(path + "/tokens_per_round");
    u.gates.resize(hmoe.strata().size());
    const double tokens = std::max(1.0, u.gates[0]);  // every token enters the first gate
    for (double& share : u.gates) share /= tokens;
    for (double rows : counted(path + "/tokens_per_expert")) u.experts += rows / tokens;
  }
  return use;
}

// Of a token that takes `rounds` of L rounds, without drops: the gates in order, k experts in each.
inline ModelUse assumed_use(const ModelConfig& m, const moe::HmoeConfig& hmoe, double rounds = 1) {
  ModelUse use;
  for (const std::string& path : moe_paths(m, hmoe)) {
    BlockUse& u = use[path];
    const size_t L = hmoe.strata().size();
    for (size_t i = 0; i < L; ++i) u.gates.push_back(std::clamp(rounds - double(i), 0.0, 1.0));
    u.experts = std::min(hmoe.gate.top1 ? 1 : 2, hmoe.moe_expert_count) * u.rounds();
  }
  return use;
}

struct Cost {
  double parameters = 0;  // in all, of all ranks' experts
  double active = 0;      // that a token meets; an expert counts at each application
  double flops = 0;       // forward, per token
  Cost& operator+=(const Cost& c) {
    parameters += c.parameters, active += c.active, flops += c.flops;
    return *this;
  }
};
// By part: "embedding" (also the output projection), "attention", "ffn" (dense, and CMR's shared one),
// "experts", "gates", "norms".
using ModelCost = std::map<std::string, Cost>;

inline Cost total(const ModelCost& parts) {
  Cost sum;
  for (const auto& [part, cost] : parts) sum += cost;
  return sum;
}

inline ModelCost model_cost(const ModelConfig& m, const moe::HmoeConfig& hmoe, int64_t vocabulary,
                            const ModelUse& use) {
  ModelCost cost;
  // `copies` of a piece with that many weights (each 2 FLOPs) and other parameters; a token meets `applied`.
  const auto part = [&](const char* name, double weights, double others, double copies,
                        double applied) {
    const double each = weights + others;
    cost[name] += {copies * each, applied * each, 2 * applied * weights};
  };
  const double M = m.encoder_embed_dim;
  part("embedding", double(vocabulary) * M, 0, 1, 1);
  for (const bool decoder : {false, true}) {
    const double F = decoder ? m.decoder_ffn_embed_dim : m.encoder_ffn_embed_dim;
    const double attentions = decoder ? 2 : 1;
    const int layers = decoder ? m.decoder_layers : m.encoder_layers;
    for (int i = 0; i < layers; ++i) {
      part("attention", 4 * M * M, 4 * M, attentions, attentions);
      part("norms", 0, 2 * M, attentions + 1, attentions + 1);
      if (!hmoe.has_experts(decoder, i)) {
        part("ffn", 2 * M * F, M + F, 1, 1);
        continue;
      }
      const BlockUse& u = use.at(concat(decoder ? "decoder/" : "encoder/", i, "/moe"));
      const std::vector<int64_t> strata = hmoe.strata();
      double visible = hmoe.moe_expert_count;
      part("experts", 2 * M * F, M + F, visible, u.experts);
      for (size_t stratum = 0; stratum < strata.size(); ++stratum) {
        part("gates", M * visible, 0, 1, u.gates.at(stratum));
        visible -= double(strata[stratum]);
      }
      if (hmoe.hmoe_layer > 0 && hmoe.hmoe_layernorm)
        part("norms", 0, 2 * M, double(strata.size()), u.rounds());
      if (hmoe.cmr()) {
        part("ffn", 2 * M * F, M + F, 1, 1);
        part("gates", M, 1, 1, 1);
      }
    }
    if (m.normalize_before(decoder)) part("norms", 0, 2 * M, 1, 1);
  }
  return cost;
}

// FLOPs of a token's queries with one key and its value: q.k and p v, in every attention layer.
inline double attention_flops_per_key(const ModelConfig& m) {
  return 4.0 * m.encoder_embed_dim * (m.encoder_layers + 2 * m.decoder_layers);
}

}  // namespace switchyard
