// Runs one rank of a block fixture (vanilla or strata, one or several ranks) and lists what differs from
// the recorded values. No gtest here: thread ranks and the MPI program share it.
#pragma once
#include <map>

#include "autograd/ops.h"
#include "dist/mesh.h"
#include "moe/methods/hmoe.h"
#include "nn/loss.h"
#include "tests/support/fixtures.h"

namespace switchyard::moe {

using fixtures::Differences;
using fixtures::Fixture;

inline const std::set<std::string>& known_options() {
  static const std::set<std::string> known = {"aux_weight",
                                              "batch",
                                              "seq_len",
                                              "ffn_dim",
                                              "model_dim",
                                              "num_experts",
                                              "num_tokens",
                                              "training",
                                              "top_k",
                                              "world_size",
                                              "hmoe_dynamic",
                                              "hmoe_layer",
                                              "hmoe_layernorm",
                                              "only_compute_current_layer_tokens",
                                              "moe_second_expert_policy",
                                              "moe_top1_expert",
                                              "capacity_factor",
                                              "mask_expert",
                                              "moe_normalize_gate_prob_before_dropping",
                                              "moe_batch_prioritized_routing",
                                              "moe_eval_capacity_token_fraction",
                                              "moe_eval_capacity_length",
                                              "moe_eom",
                                              "moe_fom",
                                              "moe_cmr",
                                              "moe_cmr_xgpu",
                                              "cmr_gate_drop",
                                              "cmr_gate_loss_p",
                                              "cmr_weight",
                                              "use_moe_pad_mask",
                                              "logit_skew",
                                              "logit_scale",
                                              "pad_fraction",
                                              "use_mask_gate"};
  return known;
}

inline HmoeConfig config_of(const Fixture& f) {
  HmoeConfig c;
  c.moe_expert_count = int(f.opt("num_experts", int64_t(0)));
  c.hmoe_layer = int(f.opt("hmoe_layer", int64_t(0)));
  c.hmoe_dynamic = c.hmoe_layer > 0 ? f.opt("hmoe_dynamic", "") : "";
  c.hmoe_layernorm = f.opt("hmoe_layernorm", int64_t(0)) != 0;
  c.only_compute_current_layer_tokens = f.opt("only_compute_current_layer_tokens", int64_t(0)) != 0;
  c.gate.top1 = f.opt("moe_top1_expert", int64_t(0)) != 0 || f.opt("top_k", int64_t(2)) == 1;
  if (c.gate.top1) c.moe_capacity_factor = f.opt("capacity_factor", 1.0);  // fixed at 2 for top-2
  c.gate.policy = c.gate.eval_policy = f.opt("moe_second_expert_policy", "sampling");
  c.gate.normalize_before_drop = f.opt("moe_normalize_gate_prob_before_dropping", int64_t(0)) != 0;
  c.gate.by_priority = f.opt("moe_batch_prioritized_routing", int64_t(0)) != 0;
  c.moe_eval_capacity_token_fraction = f.opt("moe_eval_capacity_token_fraction", 0.25);
  c.moe_eval_capacity_max_seqlen = f.has_opt("moe_eval_capacity_length");
  c.gate.fp32 = false;
  c.moe_eom = f.opt("moe_eom", 0.0);
  c.moe_fom = f.opt("moe_fom", 0.0);
  c.moe_cmr = f.opt("moe_cmr", int64_t(0)) != 0;
  c.moe_cmr_xgpu = f.opt("moe_cmr_xgpu", int64_t(0)) != 0;
  c.cmr_gate_drop = f.opt("cmr_gate_drop", 0.0);
  c.cmr_gate_loss_p = f.opt("cmr_gate_loss_p", 1.0);
  return c;
}

inline std::vector<double> as_doubles(const Tensor& t) {
  return t.to(DType::F64).to_vector<double>();
}

// Columns [first, end) of the rows named in `rows`.
inline Tensor cut(const Tensor& x, const std::vector<int64_t>& rows, int64_t first) {
  const Tensor all = x.to(DType::F64);
  const int64_t width = all.dim(1) - first;
  Tensor y = Tensor::empty({int64_t(rows.size()), width}, DType::F64);
  for (size_t i = 0; i < rows.size(); ++i)
    for (int64_t j = 0; j < width; ++j)
      y.data<double>()[i * width + j] = all.data<double>()[rows[i] * all.dim(1) + first + j];
  return y;
}

// combine [S, E, C] and its mask from a plan over the rows `at` of S rows.
struct Slots {
  std::vector<double> weight, mask;
};
inline Slots slots_of(const Routing& r, const DispatchPlan& plan, const Tensor& weight,
                      const std::vector<int64_t>& at, int64_t rows) {
  const int64_t E = int64_t(plan.kept.size()), C = plan.capacity;
  Slots s{std::vector<double>(rows * E * C), std::vector<double>(rows * E * C)};
  const std::vector<double> w = as_doubles(weight);
  for (int64_t t = 0; t < r.rows(); ++t)
    for (int64_t i = r.offsets.data<int64_t>()[t]; i < r.offsets.data<int64_t>()[t + 1]; ++i) {
      if (plan.slot[i] < 0) continue;
      const int64_t where = (at[t] * E + r.expert.data<int64_t>()[i]) * C + plan.slot[i];
      s.weight[where] = w[i];
      s.mask[where] = 1;
    }
  return s;
}

// Name in the file of parameter `path`; {e}: one array for each expert.
inline std::string fixture_name(const std::string& path) {
  std::string name = path;
  const std::map<std::string, std::string> parts = {
      {"ffn_norm", "final_ln"},           {"moe/gate", "gate"},
      {"moe/stratum_norm", "stratum_ln"}, {"moe/experts", "expert.{e}"},
      {"moe/cmr_gate", "cmr_gate"},       {"moe/shared", "shared"}};
  for (const auto& [ours, theirs] : parts)
    if (name.rfind(ours, 0) == 0) name = theirs + name.substr(ours.size());
  std::replace(name.begin(), name.end(), '/', '.');
  return name;
}

// The rows of a parameter that this rank holds, from group "param" or a gradient group.
inline std::vector<double> held_rows(const Fixture& f, const std::string& group,
                                     const std::string& path, const Param& p) {
  std::string name = group + "/" + fixture_name(path);
  if (p.placement == Placement::Replicated) return f.values(name);
  std::vector<double> all;
  const size_t hole = name.find("{e}");
  for (int64_t e = p.first_row; e < p.first_row + p.var.dim(0); ++e) {
    const std::vector<double> one =
        f.values(name.substr(0, hole) + std::to_string(e) + name.substr(hole + 3));
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

inline size_t gate_loss_at(const ForwardContext& ctx) { return ctx.losses.at(0).name != "gate"; }

inline std::vector<std::string> run_block_fixture(const Fixture& f, const dist::Comm& world,
                                                  DType dtype,
                                                  const std::string& exchange = "rows") {
  Differences diff;
  const fixtures::Tolerance tolerance{dtype};
  const bool ranks = f.kind().find("_ranks") != std::string::npos,
             hmoe = f.kind().rfind("hmoe", 0) == 0;
  const std::string own = ranks ? "rank_" + std::to_string(world.rank()) + "/" : "";
  diff.expect(f.unknown_options(known_options()).empty(),
              "unknown options: " + f.unknown_options(known_options()));

  HmoeConfig config = config_of(f);
  config.moe_exchange = exchange;
  validate(config, world.size());
  const dist::Mesh mesh = dist::make_mesh(world, config.moe_expert_count);
  const FeedForwardOptions ffn{.width = f.opt("model_dim", int64_t(0)),
                               .hidden = f.opt("ffn_dim", int64_t(0)),
                               .dtype = dtype};
  HmoeBlock block(config, ffn, 0, f.opt("moe_eval_capacity_length", int64_t(0)), mesh);
  std::vector<NamedParam> params = parameters(block);
  for (NamedParam& p : params) {
    const std::vector<double> v = held_rows(f, "param", p.path, *p.param);
    p.param->var.set_data(Tensor::of(v, p.param->var.shape()).to(dtype));
  }

  const Shape shape = f.shape(own + "in/x");
  const int64_t N = shape[0] * shape[1], M = shape[2], E = config.moe_expert_count;
  const Var x(f.get(own + "in/x", dtype).reshape({N, M}), true);
  ForwardContext ctx;
  ctx.training = f.opt("training", int64_t(1)) != 0;
  ctx.rank = world.rank();
  ctx.layout.batch = config.moe_eval_capacity_max_seqlen ? 1 : shape[0];
  ctx.layout.time = shape[1];
  InjectedDraws draws;
  std::vector<std::vector<int64_t>> valid;  // of each pass: rows that are not padding
  for (int k = 0; f.has(own + "pass_" + std::to_string(k)); ++k) {
    const std::string pass = own + "pass_" + std::to_string(k) + "/";
    const int64_t gate = f.has(pass + "layer_id") ? int64_t(f.value(pass + "layer_id")) : 0;
    const std::string site = "moe/round" + std::to_string(gate) + "/";
    const std::vector<int64_t> strata = config.strata();
    int64_t first = 0;
    for (int64_t g = 0; g < gate; ++g) first += strata.at(g);
    valid.emplace_back();
    const std::vector<double> padding = f.values(pass + "row_is_padding");
    for (size_t i = 0; i < padding.size(); ++i)
      if (padding[i] == 0) valid.back().push_back(int64_t(i));
    if (f.has(pass + "draw_gumbel"))
      draws[site + "gumbel"] = cut(f.get(pass + "draw_gumbel", DType::F64), valid.back(), first);
    if (f.has(pass + "draw_second_u")) {
      const Tensor u = f.get(pass + "draw_second_u", DType::F64);
      draws[site + "second_u"] = cut(u.reshape({u.numel(), 1}), valid.back(), 0);
    }
    for (const char* name : {"eom", "fom"})
      if (f.has(pass + "draw_" + name + "_u"))
        draws[site + name] = f.get(pass + "draw_" + name + "_u", DType::F64);
    if (f.has(own + "draw/cmr_gate_keep"))
      draws[site + "cmr_gate_keep"] = f.get(own + "draw/cmr_gate_keep", DType::F64).reshape({N, 1});
  }
  ctx.injected = &draws;

  size_t passes = 0;
  std::vector<double> rounds(N, 0), states;
  block.observer = [&](const RoundTrace& t) {
    const std::string pass = own + "pass_" + std::to_string(passes) + "/";
    if (passes++ >= valid.size()) return diff.expect(false, "more rounds than recorded");
    const std::vector<int64_t>& at = valid[passes - 1];
    const auto output = [&](const std::string& name, const std::vector<double>& got,
                            const std::vector<double>& want) {
      diff.close(pass + name, got, want, tolerance.output(f.stored(pass + name)));
    };
    if (f.has(pass + "layer_id"))
      diff.expect(t.gate == int64_t(f.value(pass + "layer_id")), pass + "layer_id");
    diff.close(pass + "capacity", {double(t.capacity)}, f.values(pass + "capacity"), 0);
    diff.close(pass + "rows", {double(t.rows)}, {double(f.shape(pass + "row_is_padding")[0])}, 0);
    if (int64_t(at.size()) != t.token.numel()) return diff.expect(false, pass + "row_is_padding");
    output("gate_input", as_doubles(t.input.data()),
           as_doubles(cut(f.get(pass + "gate_input", DType::F64), at, 0)));
    const Tensor& p = t.routed.probs.data();
    output("soft_gates", as_doubles(p),
           as_doubles(cut(f.get(pass + "soft_gates", DType::F64), at, E - p.dim(1))));
    const Slots s = slots_of(t.routed.routing, t.result.plan, t.result.weight.data(), at, t.rows);
    output("combine_weights", s.weight, f.values(pass + "combine_weights"));
    diff.close(pass + "dispatch_mask", s.mask, f.values(pass + "dispatch_mask"), 0);
    output("aux_loss", as_doubles(t.aux.data()), f.values(pass + "aux_loss"));
    std::vector<double> current(N, 0);
    for (int64_t i : t.token.to_vector<int64_t>()) current[i] = 1, rounds[i] += 1;
    if (hmoe)
      diff.close(pass + "token_is_current", current, f.values(pass + "token_is_current"), 0);
    states.insert(states.end(), t.state.begin(), t.state.end());
  };
  const Var y = block.forward(x, {}, ctx);
  diff.expect(passes == valid.size(), concat(passes, " rounds, recorded ", valid.size()));
  if (hmoe) diff.close("state_after_pass", states, f.values(own + "out/state_after_pass"), 0);
  if (hmoe) diff.close("experts_per_token", rounds, f.values(own + "out/experts_per_token"), 0);
  diff.close("y", as_doubles(y.data()), f.values(own + "out/y"),
             tolerance.output(f.stored(own + "out/y")));
  const Var aux = ctx.losses.at(gate_loss_at(ctx)).value;
  diff.close("gate loss", as_doubles(aux.data()), f.values(own + "out/moe_gate_loss"),
             tolerance.output(DType::F64));

  const Tensor grad_y = f.get(own + "in/grad_y", dtype).reshape({N, M});
  const double aux_weight = f.opt("aux_weight", 0.0);
  Var loss = add(dot(y, grad_y), scale(aux, aux_weight));
  if (config.cmr()) {
    const NamedLoss& cmr = ctx.losses.at(1 - gate_loss_at(ctx));
    const Var budget = combine_losses({cmr}, true, dtype);
    diff.close("cmr used", as_doubles(cmr.value.data()), f.values(own + "out/cmr_gate_used"),
               N * tolerance.output(DType::F64));
    diff.close("cmr total", {cmr.budget->count}, f.values(own + "out/cmr_gate_total"), 0);
    diff.close("cmr loss", as_doubles(budget.data()), f.values(own + "out/cmr_gate_loss"),
               tolerance.output(DType::F64));
    loss = add(loss, scale(budget, f.opt("cmr_weight", 0.0)));
  }
  diff.close("loss", as_doubles(loss.data()), f.values(own + "out/loss"),
             N * M * tolerance.output(DType::F64));  // a sum of N*M products
  backward(loss);
  diff.close("grad/x", as_doubles(x.grad()), f.values(own + "grad/x"),
             tolerance.gradient(DType::F64));
  for (NamedParam& p : params) {
    Tensor g =
        p.param->var.grad().defined() ? p.param->var.grad() : zeros_like(p.param->var.data());
    (p.param->placement == Placement::Replicated ? world : mesh.replicas).all_reduce(g);
    diff.close("grad of " + p.path, as_doubles(g),
               held_rows(f, ranks ? "grad_sum" : "grad", p.path, *p.param),
               tolerance.gradient(DType::F64));
  }
  for (std::string& line : diff.lines) line = own + line;
  return diff.lines;
}

}  // namespace switchyard::moe
