// The layer and the block on any number of ranks: oracle, rank invariance, idle ranks, replicas, gradients.
// specs/hmoe.md 2.6, 2.12 and 7.7-7.13.
#include <gtest/gtest.h>

#include <cmath>
#include <mutex>
#include <numeric>

#include "nn/stack.h"
#include "tests/moe/chunked_layer.h"
#include "tests/support/brute_force_moe.h"

namespace switchyard::moe {
namespace {

TEST(MoeLayer, EqualsTheDoubleLoopOnAnyRanksInBothModes) {
  const int64_t S = 11, E = 4;
  for (int ranks : {1, 2, 4, 8})
    for (auto mode : {dist::ExchangeMode::Rows, dist::ExchangeMode::Padded})
      for (auto [capacity, chunks] :
           {std::pair<int64_t, int64_t>{2, 1}, {100, 0}, {100, 2}, {2, 3}})
        dist::run_ranks(ranks, [&](dist::Runtime& rt) {
          const dist::Mesh mesh = dist::make_mesh(rt.world, E);
          const FeedForwardOptions ffn{.width = kM, .hidden = kF, .dtype = DType::F64};
          MoeLayer layer(mesh, ffn, {.exchange = mode, .chunks = chunks});
          initialize(layer, 3);
          // The last rank has no rows; choices are ragged: 0 to 3 experts, never expert 2.
          const int64_t rows = ranks > 1 && rt.world.rank() == ranks - 1 ? 0 : S;
          RandomSequence random(random_stream(9, "routing", rt.world.rank()));
          std::vector<int64_t> offsets{0}, expert, order, token(rows);
          for (int64_t s = 0; s < rows; ++s) {
            const int64_t start = random.below(3);
            for (uint64_t i = 0, k = random.below(4); i < k; ++i)
              expert.push_back(std::vector<int64_t>{0, 1, 3}[(start + i) % 3]);
            offsets.push_back(int64_t(expert.size()));
          }
          const int64_t n = int64_t(expert.size());
          order.resize(n);
          std::iota(order.begin(), order.end(), 0);
          std::iota(token.begin(), token.end(), 0);
          const Var gate(normal({n}, 20 + rt.world.rank()), true),
              x(normal({rows, kM}, 40 + rt.world.rank()), true);
          const Routing r{Tensor::of(offsets), Tensor::of(expert, {n}), gate,
                          Tensor::of(order, {n}), Normalize::None};
          ForwardContext ctx;
          const MoeLayer::Output o = layer.run(x, r, capacity, Tensor::of(token, {rows}), ctx);
          const Tensor dy = normal({rows, kM}, 60 + rt.world.rank());
          backward(dot(o.out, dy));

          // The oracle holds all experts: the same initial values on a single rank.
          dist::Mesh alone = mesh;
          alone.layout = {.num_experts = int(E), .ranks = 1};
          Experts all(alone.layout, 0, ffn);
          struct Named : Module {
            Experts& e;
            explicit Named(Experts& x) : e(x) {}
            void visit(ParamVisitor& v) override { v("experts", e); }
          } named(all);
          initialize(named, 3);
          std::vector<brute_force::Choice> choices;
          std::vector<int64_t> which;
          for (int64_t s = 0; s < rows; ++s)
            for (int64_t i = offsets[s]; i < offsets[s + 1]; ++i)
              if (o.plan.slot[i] >= 0)
                choices.push_back({s, expert[i], gate.data().data<double>()[i]}),
                    which.push_back(i);
          const brute_force::Result want = brute_force::moe(
              doubles(x.data()), choices,
              {doubles(all.fc1_weight.var.data()), doubles(all.fc1_bias.var.data()),
               doubles(all.fc2_weight.var.data()), doubles(all.fc2_bias.var.data())},
              doubles(dy), kM, kF);
          for (int64_t i = 0; i < rows * kM; ++i) {
            EXPECT_NEAR(o.out.data().data<double>()[i], want.y[i], 1e-12);
            EXPECT_NEAR(x.grad().data<double>()[i], want.dx[i], 1e-12);
          }
          for (size_t i = 0; i < which.size(); ++i)
            EXPECT_NEAR(gate.grad().data<double>()[which[i]], want.dweight[i], 1e-12);
          const auto compare = [&](const char* path, const std::vector<double>& mine) {
            Tensor sum = Tensor::of(mine);
            rt.world.all_reduce(sum);
            Param& p = param_of(layer, path);
            Tensor got = p.var.grad();
            mesh.replicas.all_reduce(got);
            const int64_t row = got.numel() / p.var.dim(0);
            for (int64_t i = 0; i < got.numel(); ++i)
              EXPECT_NEAR(got.data<double>()[i], sum.data<double>()[p.first_row * row + i], 1e-11)
                  << path;
          };
          compare("experts/fc1/weight", want.d.w1);
          compare("experts/fc1/bias", want.d.b1);
          compare("experts/fc2/weight", want.d.w2);
          compare("experts/fc2/bias", want.d.b2);
        });
}

TEST(MoeLayer, ChunksChangeNoBit) {
  for (int ranks : {1, 2, 3}) expect_chunks_change_nothing(ranks, "cpu");
}

// Output rows in rank order and gradients summed over ranks, for rows cut into R contiguous parts.
struct Global {
  std::vector<double> y;
  std::map<std::string, std::vector<double>> grad;
};
Global on_ranks(int ranks, const HmoeConfig& c, const Tensor& x, const Tensor& dy,
                const std::vector<int64_t>& cuts) {
  Global g;
  std::mutex lock;
  std::vector<std::vector<double>> parts(ranks);
  dist::run_ranks(ranks, [&](dist::Runtime& rt) {
    const int r = rt.world.rank();
    auto block = block_of(c, rt.world);
    const dist::Mesh mesh = dist::make_mesh(rt.world, c.moe_expert_count);
    ForwardContext ctx;
    ctx.training = true;
    ctx.rank = r;
    const Var in(x.slice(cuts[r], cuts[r + 1]), true);
    const Var y = block->forward(in, {}, ctx);
    backward(add(dot(y, dy.slice(cuts[r], cuts[r + 1])), scale(ctx.losses.at(0).value, 0)));
    for (NamedParam& p : parameters(*block)) {
      Tensor grad =
          p.param->var.grad().defined() ? p.param->var.grad() : zeros_like(p.param->var.data());
      const bool expert = p.param->placement == Placement::ExpertSharded;
      (expert ? mesh.replicas : rt.world).all_reduce(grad);
      if (expert) grad = mesh.expert.all_gather(grad);
      const std::lock_guard hold(lock);
      if (r == 0) g.grad[p.path] = doubles(grad);
    }
    const std::lock_guard hold(lock);
    parts[r] = doubles(y.data());
  });
  for (const auto& part : parts) g.y.insert(g.y.end(), part.begin(), part.end());
  return g;
}

TEST(Hmoe, RankInvarianceWithoutDrops) {
  const int64_t N = 24;
  const Tensor x = normal({N, kM}, 6), dy = normal({N, kM}, 7);
  for (int experts : {2, 4, 8})
    for (int layers : {0, 2})
      for (const char* exchange : {"rows", "padded"}) {
        HmoeConfig c = config_of(experts, layers);
        c.moe_capacity_factor = experts;
        c.moe_exchange = exchange;
        const Global one = on_ranks(1, c, x, dy, {0, N});
        // Unequal parts, among them ranks without any row
        const std::vector<std::vector<int64_t>> cuts = {
            {0, 7, N}, {0, N, N}, {0, 3, 3, 20, N}, {0, 0, 0, 0, N}};
        for (const auto& cut : cuts) {
          const Global many = on_ranks(int(cut.size()) - 1, c, x, dy, cut);
          ASSERT_EQ(many.y.size(), one.y.size());
          for (size_t i = 0; i < one.y.size(); ++i) ASSERT_NEAR(many.y[i], one.y[i], 1e-10);
          for (const auto& [path, grad] : one.grad) {
            ASSERT_EQ(many.grad.at(path).size(), grad.size()) << path;
            for (size_t i = 0; i < grad.size(); ++i)
              ASSERT_NEAR(many.grad.at(path)[i], grad[i], 1e-10) << path;
          }
        }
      }
}

// Every token twice: with the loss divided by the number of tokens, and capacity growing with it, gradients
// stay, that of the gate loss included.
TEST(Hmoe, DoublingTheBatchLeavesTheGradient) {
  const int64_t N = 14;
  const Tensor x = normal({N, kM}, 6), dy = normal({N, kM}, 7);
  for (int layers : {0, 2})
    on_one_rank([&](const dist::Comm& world) {
      HmoeConfig c = config_of(4, layers);
      c.moe_capacity_factor = 4;  // no drops
      std::vector<std::vector<double>> gradients[2];
      for (int times : {1, 2}) {
        auto block = block_of(c, world);
        std::vector<int64_t> rows(N * times);
        for (size_t i = 0; i < rows.size(); ++i) rows[i] = int64_t(i) % N;
        const auto repeated = [&](const Tensor& t) {
          return gather_rows(Var(t), Tensor::of(rows)).data();
        };
        ForwardContext ctx;
        ctx.training = true;
        const Var y = block->forward(Var(repeated(x)), {}, ctx);
        Var loss = scale(dot(y, repeated(dy)), 1.0 / double(rows.size()));
        for (const NamedLoss& l : ctx.losses) loss = add(loss, scale(l.value, 0.5));
        backward(loss);
        for (NamedParam& p : parameters(*block))
          gradients[times - 1].push_back(doubles(p.param->var.grad()));
      }
      for (size_t i = 0; i < gradients[0].size(); ++i)
        for (size_t j = 0; j < gradients[0][i].size(); ++j)
          EXPECT_NEAR(gradients[1][i][j], gradients[0][i][j], 1e-12);
    });
}

TEST(Hmoe, CheckpointingGivesTheSameBitsWithIdleRanksAndDropout) {
  for (int ranks : {1, 2, 4})
    dist::run_ranks(ranks, [&](dist::Runtime& rt) {
      const int r = rt.world.rank();
      HmoeConfig c = config_of(4, 2);
      c.gate.policy = "sampling";
      const Tensor x = normal({r == ranks - 1 && ranks > 1 ? 0 : 10 + r, kM}, 8 + r, DType::F32);
      const Tensor dy = normal(x.shape(), 30 + r, DType::F32);
      std::vector<std::vector<double>> results[2];
      for (bool checkpointed : {false, true}) {
        Stack::Blocks layers;
        std::vector<HmoeBlock*> blocks;
        for (int layer : {0, 1}) {
          auto block = block_of(c, rt.world, {.activation_dropout = 0.1, .dtype = DType::F32}, 0.1);
          blocks.push_back(block.get());
          layers.emplace_back(layer, std::move(block));
        }
        if (r == 0)  // all tokens of rank 0 leave in the first round, so it is idle in the second
          for (HmoeBlock* b : blocks) {
            Tensor w = param_of(*b, "moe/gate/0/weight").var.data();
            fill(0, w);
            for (int64_t m = 0; m < kM; ++m) w.data<float>()[3 * kM + m] = float(m + 1);
            Tensor norm = param_of(*b, "ffn_norm/weight").var.data(),
                   bias = param_of(*b, "ffn_norm/bias").var.data();
            fill(0.01, norm);
            fill(1, bias);
          }
        Stack stack(std::move(layers), std::nullopt, checkpointed);
        const Var in(x, true);
        ForwardContext ctx;
        ctx.training = true;
        ctx.rank = r;
        const Var y = stack.forward(in, {}, ctx);
        Var loss = dot(y, dy);
        for (const NamedLoss& l : ctx.losses) loss = add(loss, scale(l.value, 0.3));
        backward(loss);
        auto& out = results[checkpointed];
        out = {doubles(y.data()), doubles(in.grad())};
        for (NamedParam& p : parameters(stack))
          out.push_back(p.param->var.grad().defined() ? doubles(p.param->var.grad())
                                                      : std::vector<double>());
        for (const auto& [name, values] : ctx.statistics) out.push_back(values);
      }
      EXPECT_EQ(results[0], results[1]);
    });
}

TEST(Hmoe, ReplicasStayEqual) {
  dist::run_ranks(4, [](dist::Runtime& rt) {
    auto block = block_of(config_of(2, 0), rt.world, {.dtype = DType::F32});
    const dist::Mesh mesh = dist::make_mesh(rt.world, 2);
    for (int update = 0; update < 20; ++update) {
      ForwardContext ctx;
      ctx.training = true;
      const Tensor x = normal({9, kM}, 100 * update + rt.world.rank(), DType::F32);
      const Var y = block->forward(Var(x), {}, ctx);
      backward(dot(y, x));
      for (NamedParam& p : parameters(*block)) {
        Tensor g = p.param->var.grad(), w = p.param->var.data();
        (p.param->placement == Placement::Replicated ? mesh.world : mesh.replicas).all_reduce(g);
        axpy(-1e-3, g, w);
        p.param->var.set_grad({});
        const Tensor all =
            (p.param->placement == Placement::Replicated ? mesh.world : mesh.replicas)
                .all_gather(w);
        for (int64_t i = 0; i < all.numel(); ++i)
          ASSERT_EQ(all.data<float>()[i], w.data<float>()[i % w.numel()]) << p.path;
      }
    }
  });
}

// Central differences with the choices held fixed: the recorder replays them.
TEST(Hmoe, GradientCheck) {
  on_one_rank([](const dist::Comm& world) {
    std::vector<HmoeConfig> types = {config_of(4, 0), config_of(6, 3, "1,2,3"), config_of(4, 2),
                                     config_of(4, 2), config_of(4, 2),          config_of(4, 0)};
    types[0].gate.normalize_before_drop = true;
    types[2].gate.top1 = true;
    types[3].hmoe_layernorm = false;
    types[3].only_compute_current_layer_tokens = false;
    types[4].moe_eom = 0.3;
    types[4].moe_fom = 0.2;
    types[5].moe_type = "eom-cmr";
    types[5].cmr_gate_drop = 0.2;
    for (const HmoeConfig& c : types) {
      auto block = block_of(
          c, world, {.activation = &gelu, .activation_dropout = 0.1, .dtype = DType::F64}, 0.2);
      const Var x(normal({9, kM}, 11), true);
      const Tensor dy = normal({9, kM}, 12);
      DecisionRecorder recorder;
      const auto loss = [&] {
        ForwardContext ctx;
        ctx.training = true;
        ctx.recorder = &recorder;
        recorder.next = 0;
        const Var y = block->forward(x, {}, ctx);
        Var total = dot(y, dy);  // with the gate loss and, of CMR, the sum that its budget counts
        for (const NamedLoss& l : ctx.losses) total = add(total, scale(l.value, 0.7));
        return total;
      };
      const Var first = loss();
      recorder.replaying = true;
      backward(first);
      std::vector<std::pair<std::string, Var>> leaves = {{"x", x}};
      for (NamedParam& p : parameters(*block)) leaves.push_back({p.path, p.param->var});
      for (auto& [path, leaf] : leaves)
        for (int64_t i = 0; i < leaf.data().numel(); i += 1 + leaf.data().numel() / 23) {
          double* v = leaf.data().data<double>() + i;
          const double old = *v, step = 1e-5;
          *v = old + step;
          const double up = loss().data().data<double>()[0];
          *v = old - step;
          const double down = loss().data().data<double>()[0];
          *v = old;
          const double want = (up - down) / (2 * step);
          const double got = leaf.grad().defined() ? leaf.grad().data<double>()[i] : 0;
          EXPECT_NEAR(got, want, 1e-6 * std::max(1.0, std::abs(want))) << path << "[" << i << "]";
        }
    }
  });
}

}  // namespace
}  // namespace switchyard::moe
