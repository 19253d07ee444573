// HMoE / SMoE: stratified mixture of experts for many-to-many translation. The E experts of a block form
// L strata; gate i sees stratum i and all later ones. A token moves behind the stratum of its first choice
// and leaves after the last one, so it takes 1 to L rounds. Without strata: vanilla MoE.
// Source: specs/hmoe.md 2.7-2.9. Read before: moe_layer.h.
#pragma once
#include "moe/methods/cmr.h"
#include "moe/moe_layer.h"

namespace switchyard::moe {

// One round as it happened, for tests and reports.
struct RoundTrace {
  int64_t gate, capacity, rows;  // rows: S, the maximum over ranks
  const Tensor& token;           // i64 [n] rows of the stream that took part
  const Var& input;              // [n, M]
  const Routed& routed;
  const MoeLayer::Output& result;
  const Var& aux;
  const std::vector<int64_t>& state;  // of every token, after the round
};

class HmoeBlock : public SubBlock {
 public:
  // dropout: of the experts' outputs; max_positions: of encoder or decoder, for --moe-eval-capacity-max-seqlen
  HmoeBlock(const HmoeConfig& config, const FeedForwardOptions& ffn, double dropout,
            int64_t max_positions, const dist::Mesh& mesh);
  Var forward(const Var& x, const Var& encoder_out, ForwardContext& ctx) override;
  void visit(ParamVisitor& v) override;

  std::function<void(const RoundTrace&)> observer;

 private:
  std::vector<int64_t> census(const std::vector<int64_t>& state, ForwardContext& ctx) const;
  Var settle(const Var& stream, const Var& y, const Tensor& token,
             const std::vector<int64_t>& state) const;

  HmoeConfig config_;
  CapacityRule capacity_;
  dist::Comm world_;
  LayerNorm norm_;
  std::vector<TopKGate> gates_;           // [L]
  std::vector<LayerNorm> stratum_norms_;  // [L], or none
  std::vector<int64_t> stratum_of_;       // [E]
  MoeLayer layer_;
  std::optional<ConditionalRouting> cmr_;  // vanilla MoE only
};

}  // namespace switchyard::moe
