// HMoE / SMoE: stratified mixture of experts for many-to-many translation. The E experts of a block form
// L strata; gate i sees stratum i and all later ones. A token moves behind the stratum of its first choice
// and leaves after the last one, so it takes 1 to L rounds. Without strata: vanilla MoE.
// Source: specs/hmoe.md 2.7-2.9. Read before: moe_layer.h.
#pragma once
#include "moe/balance.h"
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
            int64_t max_positions, const dist::Mesh& mesh)
      : config_(config),
        capacity_(config.capacity_rule(max_positions)),
        world_(mesh.world),
        norm_(ffn.width, ffn.dtype),
        layer_(mesh, ffn,
               {.dropout = dropout,
                .eom = config.eom(),
                .fom = config.moe_fom,
                .local_drop = config.moe_local_drop,
                .exchange = config.moe_exchange == "padded" ? dist::ExchangeMode::Padded
                                                            : dist::ExchangeMode::Rows}) {
    if (config.cmr()) cmr_.emplace(config, ffn, dropout, mesh.world);
    const int64_t E = mesh.layout.num_experts;
    check(E == config.moe_expert_count, "HmoeBlock: the mesh is for another number of experts");
    for (int64_t size : config.strata()) {
      const int64_t first = int64_t(stratum_of_.size());
      stratum_of_.insert(stratum_of_.end(), size, int64_t(gates_.size()));
      gates_.emplace_back(ffn.width, first, E - first, config.gate, ffn.dtype);
      if (config.hmoe_layer > 0 && config.hmoe_layernorm)
        stratum_norms_.emplace_back(ffn.width, ffn.dtype);
    }
  }

  Var forward(const Var& x, const Var&, ForwardContext& ctx) override {
    const int64_t N = x.dim(0), L = int64_t(gates_.size());
    const Var h = norm_.forward(x);
    const Scope scope(ctx, "moe");
    std::vector<int64_t> state(N, 0);  // the next gate, L = done
    if (config_.use_moe_pad_mask && ctx.layout.padding.defined())
      for (int64_t t = 0; t < N; ++t) state[t] = ctx.layout.padding.data<uint8_t>()[t] ? L : 0;
    const DType type = compute_type(x.data().dtype());
    Var stream = x, loss(Tensor::zeros({1}, type, x.data().device()));
    int64_t executed = 0, all_rows = 0;
    for (int64_t gate = 0; gate < L; ++gate) {
      const std::vector<int64_t> waiting = census(state, ctx);
      while (gate < L && waiting[gate] == 0) ++gate;  // a gate that nobody needs is not run at all
      if (gate == L) break;
      // Everybody takes part in the first round, where the skip is the stream before the block's norm.
      const bool opening = gate == 0;
      ++executed;
      if (opening) all_rows = waiting[gate];
      const int64_t S = config_.only_compute_current_layer_tokens ? waiting[gate] : all_rows;
      const int64_t capacity =
          capacity_of(capacity_, ctx.training, S, gates_[gate].visible(), waiting[L]);

      std::vector<int64_t> current;
      current.reserve(N);
      for (int64_t t = 0; t < N; ++t)
        if (state[t] == gate) current.push_back(t);
      const Tensor token = Tensor::of(current);
      const auto rows = [&](const Var& v) {
        return token.numel() == N ? v : gather_rows(v, token);
      };
      const Var skip = rows(stream), input = opening ? rows(h) : skip;  // [n, M]
      Routed routed;
      MoeLayer::Output o;
      {
        const Scope round(ctx, "round" + std::to_string(gate));
        routed = gates_[gate].route(input, token, ctx);
        o = layer_.run(input, routed.routing, capacity, token, ctx);
        if (cmr_) o.out = cmr_->mix(input, o.out, token, ctx);
      }
      const int64_t *expert = ints(routed.routing.expert), *offsets = ints(routed.routing.offsets);
      for (size_t i = 0; i < current.size(); ++i)  // the first choice moves it, dropped or not
        state[current[i]] = 1 + stratum_of_[chosen(expert[offsets[i]])];
      stream = settle(stream, add(skip, o.out), token, state);
      const Var aux = balance_loss(routed, S);
      loss = add(loss, cast(aux, type));
      count_round(ctx, routed, o.plan, gate, L);
      count_groups(ctx, token, opening);
      if (observer) observer({gate, capacity, S, token, input, routed, o, aux, state});
    }
    ctx.add_loss("gate", config_.moe_gate_loss_wt,
                 scale(loss, 1.0 / double(std::max<int64_t>(executed, 1))));
    return stream;
  }

  void visit(ParamVisitor& v) override {
    v("ffn_norm", norm_);
    for (size_t i = 0; i < gates_.size(); ++i) v("moe/gate/" + std::to_string(i), gates_[i]);
    for (size_t i = 0; i < stratum_norms_.size(); ++i)
      v("moe/stratum_norm/" + std::to_string(i), stratum_norms_[i]);
    v("moe", layer_);
    if (cmr_) v("moe", *cmr_);
  }

  std::function<void(const RoundTrace&)> observer;

 private:
  // Maximum over all ranks of the tokens that wait at each gate [L], and of the sentences: one collective
  // says which gate is next (the first with a token anywhere), how many rows it gets, or that all is done.
  std::vector<int64_t> census(const std::vector<int64_t>& state, ForwardContext& ctx) const {
    return decide(ctx, [&] {
      const int64_t L = int64_t(gates_.size());
      Tensor waiting = Tensor::zeros({L + 1}, DType::I64);
      int64_t* count = ints(waiting);
      for (int64_t s : state) ++count[s];
      ints(waiting)[L] = ctx.layout.batch;  // instead of the tokens that are done
      world_.all_reduce(waiting, dist::Reduce::Max);
      return waiting.to_vector<int64_t>();
    });
  }

  // The stream with new rows y at `token`, each through the norm of the stratum that has just processed it.
  // Norms without rows run too: their parameters get a zero gradient.
  Var settle(const Var& stream, const Var& y, const Tensor& token,
             const std::vector<int64_t>& state) const {
    if (stratum_norms_.empty())
      return token.numel() == stream.dim(0) ? y : replace_rows(stream, token, y);
    std::vector<Var> parts;
    std::vector<int64_t> order;
    order.reserve(token.numel());
    const int64_t* tokens = ints(token);
    for (size_t stratum = 0; stratum < stratum_norms_.size(); ++stratum) {
      std::vector<int64_t> rows;
      rows.reserve(token.numel());
      for (int64_t i = 0; i < token.numel(); ++i) {
        const int64_t t = tokens[i];
        if (state[t] == int64_t(stratum) + 1) rows.push_back(i), order.push_back(t);
      }
      parts.push_back(stratum_norms_[stratum].forward(gather_rows(y, Tensor::of(rows))));
    }
    return replace_rows(stream, Tensor::of(order), concat_rows(parts));
  }

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
