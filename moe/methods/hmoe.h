// HMoE / SMoE: stratified mixture of experts for many-to-many translation. The E experts of a block form
// L strata; gate i sees stratum i and all later ones. A token moves behind the stratum of its first choice
// and leaves after the last one, so it takes 1 to L rounds. Without strata: vanilla MoE.
// Source: specs/hmoe.md 2.7-2.9. Read before: moe_layer.h.
#pragma once
#include <functional>

#include "moe/balance.h"
#include "moe/methods/hmoe_config.h"
#include "moe/moe_layer.h"
#include "nn/norm.h"
#include "nn/sub_block.h"

namespace switchyard::moe {

struct HmoeDims {
  int64_t embed = 0, ffn = 0;
  std::string activation = "relu";
  double dropout = 0, activation_dropout = 0;
  int64_t max_positions = 0;  // of encoder or decoder, for --moe-eval-capacity-max-seqlen
};

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
  HmoeBlock(const HmoeConfig& config, const HmoeDims& dims, const dist::Mesh& mesh, DType dtype);
  Var forward(const Var& x, const Var& encoder_out, ForwardContext& ctx) override;
  void visit(ParamVisitor& v) override;
  bool has_collective() const override { return true; }

  std::function<void(const RoundTrace&)> observer;

 private:
  int64_t first_expert(int64_t stratum) const;
  int64_t stratum_of(int64_t expert) const;
  std::vector<int64_t> census(const std::vector<int64_t>& state, ForwardContext& ctx) const;
  Var settle(const Var& stream, const Var& y, const Tensor& token,
             const std::vector<int64_t>& state) const;

  dist::Comm world_;
  std::vector<int64_t> strata_;
  CapacityRule capacity_;
  bool own_rows_only_;
  double gate_loss_weight_;
  LayerNorm norm_;
  std::vector<std::unique_ptr<TopKGate>> gates_;           // [L]
  std::vector<std::unique_ptr<LayerNorm>> stratum_norms_;  // [L], or none
  MoeLayer layer_;
};

// The MoE block of a layer for which config.has_experts(place.decoder, place.layer).
std::unique_ptr<SubBlock> make_hmoe(const HmoeConfig& config, const HmoeDims& dims,
                                    const LayerPlace& place, const dist::Mesh& mesh,
                                    DType dtype = DType::F32);

}  // namespace switchyard::moe
