// Golden fixtures of the HMoE reference: gates, blocks on one and several ranks, the training loss.
#include <gtest/gtest.h>

#include <mutex>
#include <numeric>

#include "dist/runtime.h"
#include "moe/balance.h"
#include "nn/loss.h"
#include "tests/moe/block_fixture.h"

namespace switchyard::moe {
namespace {

using fixtures::Tolerance;

std::vector<std::string> gate_files() {
  std::vector<std::string> all = fixtures::files("hmoe_top1");
  for (const std::string& f : fixtures::files("hmoe_top2")) all.push_back(f);
  return all;
}
// Every other hmoe file; the kind says what it is.
std::vector<std::string> files_of(bool criterion) {
  std::vector<std::string> some;
  const std::vector<std::string> gates = gate_files();
  for (const std::string& f : fixtures::files("hmoe_"))
    if (!std::count(gates.begin(), gates.end(), f) &&
        (Fixture(f).kind() == "criterion") == criterion)
      some.push_back(f);
  return some;
}
std::string name_of_case(const testing::TestParamInfo<std::string>& info) {
  return fixtures::test_name(info.param);
}
std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

// Percent of the choices that went to the `experts` most and least chosen; experts nobody chose.
struct Share {
  double top, bottom;
  int64_t unused;
};
Share share_of(std::vector<double> choices, int64_t experts) {
  std::sort(choices.begin(), choices.end());
  const double percent = 100 / std::accumulate(choices.begin(), choices.end(), 0.0);
  return {percent * std::accumulate(choices.end() - experts, choices.end(), 0.0),
          percent * std::accumulate(choices.begin(), choices.begin() + experts, 0.0),
          int64_t(std::count(choices.begin(), choices.end(), 0.0))};
}

std::vector<std::string> check_gate(const Fixture& f, DType dtype) {
  Differences diff;
  const Tolerance tolerance{dtype};
  diff.expect(f.unknown_options(known_options()).empty(),
              "unknown options: " + f.unknown_options(known_options()));
  const HmoeConfig config = config_of(f);
  const int64_t E = config.moe_expert_count, first = f.opt("mask_expert", int64_t(0));
  const Var logits(f.get("in/logits", dtype), true);
  const int64_t S = logits.dim(0);
  std::vector<int64_t> all(S);
  std::iota(all.begin(), all.end(), 0);
  InjectedDraws draws;
  if (f.has("draw/gumbel")) draws["gumbel"] = cut(f.get("draw/gumbel", DType::F64), all, first);
  if (f.has("draw/second_u")) draws["second_u"] = f.get("draw/second_u", DType::F64);
  ForwardContext ctx;
  ctx.training = f.opt("training", int64_t(1)) != 0;
  ctx.injected = &draws;
  const Tensor padding = f.has("in/padding") ? f.get("in/padding", DType::U8) : Tensor();

  const Routed routed = top_k_gate(logits, first, config.gate, padding, Tensor::of(all), ctx);
  const int64_t capacity =
      capacity_of(config.capacity_rule(f.opt("moe_eval_capacity_length", int64_t(0))), ctx.training,
                  S, E - first, 1);
  const DispatchPlan plan = make_plan(routed.routing, E, capacity);
  const Var weight = combine_weights(routed.routing, plan);
  const Var aux = balance_loss(routed, S);
  const Slots slots = slots_of(routed.routing, plan, weight.data(), all, S);

  diff.close("capacity", {double(capacity)}, f.values("out/capacity"), 0);
  diff.close("combine_weights", slots.weight, f.values("out/combine_weights"),
             tolerance.output(f.stored("out/combine_weights")));
  diff.close("dispatch_mask", slots.mask, f.values("out/dispatch_mask"), 0);
  diff.close("aux_loss", as_doubles(aux.data()), f.values("out/aux_loss"),
             tolerance.output(DType::F64));
  const Tensor p = f.get("out/softmax", DType::F64);
  diff.close("softmax", as_doubles(routed.probs.data()), as_doubles(cut(p, all, first)),
             tolerance.output(f.stored("out/softmax")));
  std::vector<double> used(S, 0);
  for (size_t i = 0; i < slots.mask.size(); ++i) used[i / (slots.mask.size() / S)] += slots.mask[i];
  diff.close("slots_used_per_token", used, f.values("out/slots_used_per_token"), 0);

  count_round(ctx, routed, plan, 0, 1);
  const Statistics& st = ctx.statistics;
  const auto stat = [&](const std::string& name,
                        double got) {  // the reference counts them in float32
    if (f.has("out/" + name)) diff.close(name, {got}, f.values("out/" + name), 1e-6);
  };
  stat("entropy_gating", st.at("entropy")[0] / st.at("entropy")[1]);
  for (int j = 0; j < 2; ++j) {
    const std::string expert = "expert" + std::to_string(j + 1);
    const std::vector<double>& choices = st.at(j ? "second_choices" : "first_choices");
    // the reference takes 20 % of all experts in the top-1 gate, of the visible ones in the top-2 gate
    const int64_t of = config.gate.top1 ? E : E - first;
    const Share share = share_of(choices, (of + 4) / 5);  // at least one
    stat("unused_" + expert + "_count", double(share.unused));
    stat(expert + "_balance_top", share.top);
    stat(expert + "_balance_bottom", share.bottom);
    stat("overflow_" + expert, 100 * st.at("over_capacity")[j] / st.at("asked")[j]);
  }

  const std::vector<double> dcombine = f.values("in/grad_combine");
  std::vector<double> seed(routed.routing.choices(), 0);
  for (size_t i = 0; i < seed.size(); ++i) {
    const int64_t k = int64_t(seed.size()) / S;
    if (plan.slot[i] >= 0)
      seed[i] = dcombine[((i / k) * E + routed.routing.expert.data<int64_t>()[i]) * capacity +
                         plan.slot[i]];
  }
  const Tensor daux = Tensor::full({1}, f.opt("aux_weight", 0.0), dtype);
  backward({weight, aux}, {Tensor::of(seed).to(dtype), daux});
  diff.close("grad/logits", as_doubles(logits.grad()), f.values("grad/logits"),
             tolerance.gradient(DType::F64));
  return diff.lines;
}

class GateFixtures : public testing::TestWithParam<std::string> {};
TEST_P(GateFixtures, DoubleAndFloat) {
  const Fixture f(GetParam());
  EXPECT_EQ(joined(check_gate(f, DType::F64)), "") << "f64";
  EXPECT_EQ(joined(check_gate(f, DType::F32)), "") << "f32";
}
INSTANTIATE_TEST_SUITE_P(Hmoe, GateFixtures, testing::ValuesIn(gate_files()), name_of_case);

class BlockFixtures : public testing::TestWithParam<std::string> {};
TEST_P(BlockFixtures, DoubleAndFloat) {
  const Fixture probe(GetParam());
  const int ranks = int(probe.opt("world_size", int64_t(1)));
  for (DType dtype : {DType::F64, DType::F32})
    for (const char* exchange : {"rows", "padded"}) {
      std::vector<std::string> lines;
      std::mutex lock;
      dist::run_ranks(ranks, [&](dist::Runtime& rt) {
        const std::vector<std::string> mine =
            run_block_fixture(Fixture(GetParam()), rt.world, dtype, exchange);
        const std::lock_guard hold(lock);
        lines.insert(lines.end(), mine.begin(), mine.end());
      });
      EXPECT_EQ(joined(lines), "") << name_of(dtype) << ", " << exchange;
    }
}
INSTANTIATE_TEST_SUITE_P(Hmoe, BlockFixtures, testing::ValuesIn(files_of(false)), name_of_case);

class CriterionFixtures : public testing::TestWithParam<std::string> {};
TEST_P(CriterionFixtures, DoubleAndFloat) {
  const Fixture f(GetParam());
  for (DType dtype : {DType::F64, DType::F32}) {
    Differences diff;
    const Tolerance tolerance{dtype};
    const Var logits(f.get("in/logits", dtype), true);
    std::vector<NamedLoss> losses;
    for (double v : f.values("in/gate_losses"))
      losses.push_back(
          {"gate", f.opt("moe_gate_loss_wt", 0.0), Var(Tensor::full({1}, v, dtype), true), {}});
    const size_t gates = losses.size();
    if (f.has("in/cmr_used"))
      for (size_t i = 0; i < f.values("in/cmr_used").size(); ++i)
        losses.push_back({"cmr", f.opt("cmr_gate_loss_wt", 0.0),
                          Var(Tensor::full({1}, f.values("in/cmr_used")[i], dtype), true),
                          Budget{f.values("in/cmr_total")[i], f.opt("cmr_gate_loss_p", 1.0)}});
    const bool average = f.opt("moe_gate_loss_combine_method", "average") == "average";
    const LossParts parts =
        criterion(logits, f.get("in/target", DType::I64), f.opt("pad_index", int64_t(1)),
                  f.opt("label_smoothing", 0.0), losses, average);
    const auto output = [&](const char* name, double got) {
      diff.close(name, {got}, f.values(std::string("out/") + name), tolerance.output(DType::F64));
    };
    output("loss", as_doubles(parts.loss.data())[0]);
    output("nll_loss", value_of(parts.nll));
    output("moe_loss", value_of(parts.auxiliary.at("gate")));
    if (losses.size() > gates)  // the reference took this one in float32
      diff.close("cmr_loss", {value_of(parts.auxiliary.at("cmr"))}, f.values("out/cmr_loss"),
                 tolerance.output(DType::F32));
    diff.close("sample_size", {double(parts.tokens)}, f.values("out/sample_size"), 0);
    backward(parts.loss);
    std::map<std::string, std::vector<double>> of;  // gradients by name
    for (const NamedLoss& l : losses) of[l.name].push_back(as_doubles(l.value.grad())[0]);
    diff.close("grad/gate_losses", of["gate"], f.values("grad/gate_losses"),
               tolerance.gradient(DType::F64));
    if (f.has("grad/cmr_used"))
      diff.close("grad/cmr_used", of["cmr"], f.values("grad/cmr_used"),
                 tolerance.gradient(DType::F64));
    diff.close("grad/logits", as_doubles(logits.grad()), f.values("grad/logits"),
               tolerance.gradient(DType::F64));
    EXPECT_EQ(joined(diff.lines), "") << name_of(dtype);
  }
}
INSTANTIATE_TEST_SUITE_P(Hmoe, CriterionFixtures, testing::ValuesIn(files_of(true)), name_of_case);

// A folder without files would pass by running nothing.
TEST(FoundFixtures, SomeFilesInTheFolder) {
  EXPECT_FALSE(gate_files().empty() && files_of(false).empty())
      << "no hmoe_*.h5 in " << fixtures::folder();
}

}  // namespace
}  // namespace switchyard::moe
