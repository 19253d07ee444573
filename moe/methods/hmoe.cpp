#include "moe/methods/hmoe.h"

#include <algorithm>
#include <numeric>

#include "autograd/ops.h"
#include "moe/stats.h"

namespace switchyard::moe {

HmoeBlock::HmoeBlock(const HmoeConfig& config, const HmoeDims& dims, const dist::Mesh& mesh,
                     DType dtype)
    : world_(mesh.world),
      strata_(config.strata()),
      capacity_(config.capacity_rule(dims.max_positions)),
      own_rows_only_(config.only_compute_current_layer_tokens),
      gate_loss_weight_(config.gate_loss_weight()),
      norm_(dims.embed, dtype),
      layer_(
          mesh, dims.embed, dims.ffn, dims.activation, dims.dropout, dims.activation_dropout,
          config.moe_exchange == "padded" ? dist::ExchangeMode::Padded : dist::ExchangeMode::Rows,
          dtype) {
  check(mesh.layout.num_experts == config.moe_expert_count,
        "HmoeBlock: the mesh is for another number of experts");
  for (size_t i = 0; i < strata_.size(); ++i) {
    const int64_t first = first_expert(i);
    gates_.push_back(std::make_unique<TopKGate>(dims.embed, first, config.moe_expert_count - first,
                                                config.gate_options(), dtype));
    if (config.hmoe_layer > 0 && config.hmoe_layernorm)
      stratum_norms_.push_back(std::make_unique<LayerNorm>(dims.embed, dtype));
  }
}

int64_t HmoeBlock::first_expert(int64_t stratum) const {
  return std::accumulate(strata_.begin(), strata_.begin() + stratum, int64_t(0));
}

int64_t HmoeBlock::stratum_of(int64_t expert) const {
  int64_t stratum = 0;
  while (expert >= strata_[stratum]) expert -= strata_[stratum++];
  return stratum;
}

// Maximum over all ranks of the tokens that wait at each gate [L], and of the sentences: one collective
// says which gate is next (the first with a token anywhere), how many rows it gets, or that all is done.
std::vector<int64_t> HmoeBlock::census(const std::vector<int64_t>& state,
                                       ForwardContext& ctx) const {
  return decide(ctx, [&] {
    Tensor waiting = Tensor::zeros({int64_t(strata_.size()) + 1}, DType::I64);
    for (int64_t s : state)
      if (s < int64_t(strata_.size())) ++waiting.data<int64_t>()[s];
    waiting.data<int64_t>()[strata_.size()] = ctx.layout.batch;
    world_.all_reduce(waiting, dist::Reduce::Max);
    return waiting.to_vector<int64_t>();
  });
}

// The stream with new rows y at `token`, each through the norm of the stratum that has just processed it.
// Norms without rows run too: their parameters get a zero gradient.
Var HmoeBlock::settle(const Var& stream, const Var& y, const Tensor& token,
                      const std::vector<int64_t>& state) const {
  if (stratum_norms_.empty()) return replace_rows(stream, token, y);
  std::vector<Var> parts;
  std::vector<int64_t> order;
  for (size_t g = 0; g < strata_.size(); ++g) {
    std::vector<int64_t> rows;
    for (int64_t i = 0; i < token.numel(); ++i) {
      const int64_t t = token.data<int64_t>()[i];
      if (state[t] == int64_t(g) + 1) rows.push_back(i), order.push_back(t);
    }
    parts.push_back(
        stratum_norms_[g]->forward(gather_rows(y, Tensor::of(rows, {int64_t(rows.size())}))));
  }
  return replace_rows(stream, Tensor::of(order, {int64_t(order.size())}), concat_rows(parts));
}

Var HmoeBlock::forward(const Var& x, const Var&, ForwardContext& ctx) {
  const int64_t N = x.dim(0), L = int64_t(strata_.size());
  const Var h = norm_.forward(x);
  const Scope scope(ctx, "moe");
  std::vector<int64_t> state(N, 0), rounds(N, 0);  // state: the next gate, L = done
  Var stream = x, loss;
  int64_t executed = 0, all_rows = 0;
  for (int64_t gate = 0; gate < L; ++gate) {
    const std::vector<int64_t> waiting = census(state, ctx);
    while (gate < L && waiting[gate] == 0) ++gate;  // a gate that nobody needs is not run at all
    if (gate == L) break;
    if (executed == 0) all_rows = waiting[gate];
    const int64_t S = own_rows_only_ ? waiting[gate] : all_rows;

    std::vector<int64_t> current;
    for (int64_t t = 0; t < N; ++t)
      if (state[t] == gate) current.push_back(t);
    const Tensor token = Tensor::of(current, {int64_t(current.size())});
    // All tokens take part in the first round, where the skip is the stream before the block's norm.
    const Var input = executed == 0 ? h : gather_rows(stream, token);  // [n, M]
    const int64_t capacity =
        capacity_of(capacity_, ctx.training, S, gates_[gate]->visible(), waiting[L]);
    Routed routed;
    MoeLayer::Output o;
    {
      const Scope round(ctx, "round" + std::to_string(gate));
      routed = gates_[gate]->route(input, token, ctx);
      o = layer_.run(input, routed.routing, capacity, token, ctx);
    }
    const Var y = add(executed == 0 ? x : input, o.out);

    for (size_t i = 0; i < current.size();
         ++i) {  // the first choice moves the token, dropped or not
      const int64_t choice = routed.routing.offsets.data<int64_t>()[i];
      state[current[i]] = 1 + stratum_of(chosen(routed.routing.expert.data<int64_t>()[choice]));
      ++rounds[current[i]];
    }
    stream = executed == 0 && stratum_norms_.empty() ? y : settle(stream, y, token, state);
    const Var aux = balance_loss(routed, first_expert(gate), S);
    loss = executed == 0 ? aux : add(loss, aux);
    ++executed;
    count_round(ctx, routed, o.plan, gate, L);
    if (observer) observer({gate, capacity, S, token, input, routed, o, aux, state});
  }
  count_rounds_per_token(ctx, rounds);
  loss = executed == 0 ? Var(Tensor::zeros({1}, x.data().dtype()))
                       : scale(loss, 1.0 / double(executed));
  if (loss.data().dtype() != x.data().dtype()) loss = cast(loss, x.data().dtype());
  ctx.add_loss("gate", gate_loss_weight_, loss);
  return stream;
}

void HmoeBlock::visit(ParamVisitor& v) {
  v("ffn_norm", norm_);
  for (size_t i = 0; i < gates_.size(); ++i) v("moe/gate/" + std::to_string(i), *gates_[i]);
  for (size_t i = 0; i < stratum_norms_.size(); ++i)
    v("moe/stratum_norm/" + std::to_string(i), *stratum_norms_[i]);
  v("moe", layer_);
}

std::unique_ptr<SubBlock> make_hmoe(const HmoeConfig& config, const HmoeDims& dims,
                                    const LayerPlace& place, const dist::Mesh& mesh, DType dtype) {
  check(config.has_experts(place.decoder, place.layer),
        concat("make_hmoe: ", place.path(), " has no experts"));
  return std::make_unique<HmoeBlock>(config, dims, mesh, dtype);
}

}  // namespace switchyard::moe
