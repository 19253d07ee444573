// The engine: sums of gradients, order of nodes, memory, checkpointing. The gradients of ops are in test_ops.
#include <cmath>
#include <cstring>
#include <limits>
#include <thread>

#include "autograd/ops.h"
#include "tensor/allocator.h"
#include "tests/support/gradcheck.h"

namespace switchyard {
namespace {

using Values = std::vector<double>;

Var leaf(const Values& v) { return Var(Tensor::of(v), true); }
Var random_leaf(const Shape& shape, uint64_t seed) {
  return Var(away_from_zero(shape, seed).to(DType::F32), true);
}
Values grad_of(const Var& x) { return x.grad().to_vector<double>(); }
template <class T = float>
void expect_same_bits(const Tensor& a, const Tensor& b, const std::string& what) {
  ASSERT_TRUE(a.defined() && b.defined()) << what;
  ASSERT_EQ(a.shape(), b.shape()) << what;
  EXPECT_EQ(std::memcmp(a.raw(), b.raw(), size_t(a.bytes())), 0) << what;
}

TEST(Engine, GradientsAddUpOverUsesAndCalls) {
  Var x = leaf({2, -3});
  const Var y = add(mul(x, x), add(x, x));  // dy/dx = 2x + 2
  backward(sum(y));
  EXPECT_EQ(grad_of(x), (Values{6, -4}));
  backward(sum(scale(x, 10)));
  EXPECT_EQ(grad_of(x), (Values{16, 6}));
  x.set_grad({});
  backward({x}, {Tensor::of<double>({1, 2})});  // a root may be a leaf
  EXPECT_EQ(grad_of(x), (Values{1, 2}));
}

// Parts share the leaf's memory and its gradient; so do their converted copies.
TEST(Engine, GradientsOfPartsLandInTheLeaf) {
  for (const std::vector<int>& order : {std::vector{0, 1, 2}, {2, 1, 0}, {0, 2}, {1}, {1, 1, 0}}) {
    const Var x(Tensor::of<float>({1, 2, 3}, {3, 1}), true);
    std::vector<float> want(3);
    for (const int i : order) {
      backward(sum(scale(part(x, i, i + 1), i + 4)));
      want[size_t(i)] += float(i + 4);
    }
    EXPECT_EQ(x.grad().to_vector<float>(), want);
  }
  const Var w(Tensor::of<float>({1, 2, 3, 4}, {4, 1}), true);
  backward(sum(scale(part(w, 2, 4), 5)));
  EXPECT_EQ(w.grad().to_vector<float>(), (std::vector<float>{0, 0, 5, 5}));
  backward(add(sum(part(w, 0, 3)), sum(w)));
  EXPECT_EQ(w.grad().to_vector<float>(), (std::vector<float>{2, 2, 7, 6}));
  EXPECT_EQ(part(w, 1, 2).data().raw(), w.data().raw() + 4);
  EXPECT_EQ(part(w, 1, 2).as(DType::BF16).raw(), w.as(DType::BF16).raw() + 2);
  EXPECT_EQ(part(w, 0, 4).slot(), w.slot());
  EXPECT_FALSE(part(w.detach(), 1, 2).requires_grad());
  EXPECT_THROW(part(scale(w, 2), 1, 2), Error);
}

TEST(Engine, SharedGradientsAreNotOverwritten) {
  // add hands one tensor to both inputs; a and b then receive more of their own
  const Var a = leaf({1}), b = leaf({1});
  const Tensor seed = Tensor::of<double>({1});
  const Var y = add(add(a, b), add(scale(a, 10), scale(b, 100)));
  backward({y}, {seed});
  EXPECT_EQ(grad_of(a), Values{11});
  EXPECT_EQ(grad_of(b), Values{101});
  EXPECT_EQ(seed.to_vector<double>(), Values{1});
  const Var m = scale(a, 1), n = scale(b, 1);  // the same for outputs of nodes
  backward({add(add(m, n), add(scale(m, 10), add(n, scale(n, 100))))}, {seed});
  EXPECT_EQ(grad_of(a), Values{22});
  EXPECT_EQ(grad_of(b), Values{203});
  EXPECT_NE(a.grad().raw(), b.grad().raw());
}

TEST(Engine, ConsumersAreServedByFallingSequence) {
  // (late + early) in this order: 1e16 + 1 loses the 1 unless the small ones meet first
  const Var x = leaf({1});
  const Var m = scale(x, 1);
  const Var first = scale(m, 1e16), second = scale(m, 1), third = scale(m, 1);
  backward({third, first, second}, {});
  EXPECT_EQ(grad_of(x), Values{(1.0 + 1.0) + 1e16});
}

TEST(Engine, NoGradBuildsNothing) {
  const Var x = leaf({1, 2});
  {
    NoGrad outer;
    EXPECT_FALSE(grad_enabled());
    EXPECT_FALSE(mul(x, x).requires_grad());
    {
      GradMode inner(true);
      EXPECT_TRUE(mul(x, x).requires_grad());
    }
    EXPECT_FALSE(grad_enabled());
  }
  EXPECT_TRUE(grad_enabled());
  EXPECT_FALSE(mul(x.detach(), x.detach()).requires_grad());
  EXPECT_THROW(backward(sum(x.detach())), Error);
}

TEST(Engine, MistakesAreNamed) {
  const Var x = leaf({1, 2});
  const Var y = scale(x, 2);
  EXPECT_THROW(backward({y}, {Tensor::of<double>({1})}), Error);
  const Var z = scale(x, 2);
  backward(sum(z));
  EXPECT_THROW(backward(sum(z)), Error);  // its node is freed
  const Var few =
      make_node("few", x.data().clone(), {x, x}, [](const Tensor& dy) -> Grads { return {dy}; });
  EXPECT_THROW(backward(few), Error);
  const Var wide = make_node("wide", x.data().clone(), {x},
                             [](const Tensor&) -> Grads { return {Tensor::zeros({3})}; });
  EXPECT_THROW(backward(wide), Error);
}

// A node that counts its runs, as one with a collective would.
Var counting(const Var& x, int& runs, bool always_run, bool pass = true) {
  return make_node(
      "counting", x.data().clone(), {x},
      [&runs, pass](const Tensor& dy) -> Grads {
        ++runs;
        return {pass ? dy : Tensor()};
      },
      always_run);
}

TEST(Engine, AlwaysRunNodesRunWithoutGradient) {
  const Var x = leaf({1, 2});
  int before = 0, between = 0, after = 0;
  const Var a = counting(x, before, true);
  const Var b = counting(a, between, false);
  const Var c = counting(b, after, true, false);  // passes no gradient on
  backward(sum(c));
  EXPECT_EQ(after, 1);
  EXPECT_EQ(between, 0);  // nothing arrived
  EXPECT_EQ(before, 1);   // upstream of a skipped node
  EXPECT_EQ(grad_of(x), (Values{0, 0}));
}

TEST(Engine, AlwaysRunNodesNeedNoInputWithGradient) {
  int runs = 0;
  const Var constant(Tensor::zeros({0, 3}));
  const Var y = counting(constant, runs, true);
  EXPECT_TRUE(y.requires_grad());
  backward(y);
  EXPECT_EQ(runs, 1);
  NoGrad no_grad;
  EXPECT_FALSE(counting(constant, runs, true).requires_grad());
}

TEST(Engine, NonFiniteSeedsPass) {
  const double inf = std::numeric_limits<double>::infinity();
  const Var x = leaf({1, 2, 3});
  backward({add(scale(x, 2), x)}, {Tensor::of<double>({inf, std::nan(""), 1})});
  EXPECT_EQ(grad_of(x)[0], inf);
  EXPECT_TRUE(std::isnan(grad_of(x)[1]));
  EXPECT_EQ(grad_of(x)[2], 3);
}

TEST(Engine, DeepGraphsDoNotOverflowTheStack) {
  const Var x = leaf({1});
  const auto chain = [&] {
    Var y = x;
    for (int i = 0; i < 100000; ++i) y = scale(y, 1);
    return y;
  };
  backward(chain());
  EXPECT_EQ(grad_of(x), Values{1});
  { const Var dropped = chain(); }  // destroyed without backward
}

TEST(Engine, EachThreadHasItsOwnTape) {
  NoGrad here;
  std::vector<std::thread> ranks;
  std::vector<Values> grads(4);
  for (int r = 0; r < 4; ++r)
    ranks.emplace_back([&, r] {
      const Var x = leaf({double(r)});
      for (int i = 0; i < 200; ++i) backward(mul(x, x));
      grads[r] = grad_of(x);
    });
  for (std::thread& t : ranks) t.join();
  for (int r = 0; r < 4; ++r) EXPECT_EQ(grads[r], Values{400.0 * r});
}

TEST(Engine, MemoryIsFreedDuringBackward) {
  const int64_t start = allocator_stats().live_bytes;
  constexpr int64_t kBytes = 1 << 20, kDepth = 16;
  {
    const Var x(Tensor::full({kBytes / 8}, 0.5, DType::F64), true);
    int64_t live_at_the_end = 0;
    Var y = make_node("probe", x.data(), {x}, [&](const Tensor& dy) -> Grads {  // runs last
      live_at_the_end = allocator_stats().live_bytes - start;
      return {dy};
    });
    for (int i = 0; i < kDepth; ++i) y = sigmoid(y);  // each saves its output
    const Var z = sum(y);
    y = Var();
    EXPECT_GE(allocator_stats().live_bytes - start, kDepth * kBytes);
    reset_peak();
    const int64_t before = allocator_stats().live_bytes;
    backward(z);
    EXPECT_LE(allocator_stats().peak_bytes, before + 3 * kBytes);
    EXPECT_LE(live_at_the_end, 2 * kBytes + 65536);  // x and one gradient: the rest is freed
    EXPECT_LE(allocator_stats().live_bytes - start, 2 * kBytes + 65536);
  }
  EXPECT_EQ(allocator_stats().live_bytes, start);
}

TEST(Engine, LinearOpsKeepNoInputsAlive) {
  constexpr int64_t kBytes = 1 << 20;
  const Var x(Tensor::full({kBytes / 8}, 0.5, DType::F64), true);
  const int64_t start = allocator_stats().live_bytes;
  Var y = x;
  for (int i = 0; i < 8; ++i) y = add(scale(y, 2), scale(y, 3));
  EXPECT_LE(allocator_stats().live_bytes - start, kBytes + 4096);
}

// --- checkpoint ----------------------------------------------------------------------------------------

using Function = std::function<std::vector<Var>(Vars)>;
std::vector<Var> plain(const Function& fn, Vars x) { return fn(x); }

// A pre-norm block with memory (as cross-attention has), dropout and its own parameters.
struct Block {
  Var w, b, g, h, u;
  explicit Block(uint64_t seed)
      : w(random_leaf({6, 6}, seed)),
        b(random_leaf({6}, seed + 1)),
        g(random_leaf({6}, seed + 2)),
        h(random_leaf({6}, seed + 3)),
        u(random_leaf({6, 6}, seed + 4)) {}
  std::vector<Var> operator()(Vars v) const {  // stream, memory
    const Var n = layer_norm(v[0], g, h);
    const Var seen = add(linear(v[1], u), mul(linear(v[1], w, b), v[1]));
    const Var d = dropout(gelu(linear(n, w, b)), 0.3, random_stream(3, "block"));
    return {add(v[0], add(d, mul(seen, n)))};
  }
  std::vector<Var> parameters() const { return {w, b, g, h, u}; }
};

template <class Checkpoint>
std::vector<Tensor> run_blocks(const Checkpoint& wrap) {
  const std::vector<Block> blocks = {Block(10), Block(20), Block(30)};
  const Var x = random_leaf({7, 6}, 1), start = random_leaf({7, 6}, 2);
  const Var memory = gelu(start);
  Var y = scale(x, 1.5);
  for (const Block& block : blocks) y = wrap(Function(block), {y, memory})[0];
  backward(sum(mul(y, add(y, memory))));
  std::vector<Tensor> result = {y.data(), x.grad(), start.grad()};
  for (const Block& block : blocks)
    for (const Var& p : block.parameters()) result.push_back(p.grad());
  return result;
}

TEST(Checkpoint, EqualsPlainToTheBit) {
  const std::vector<Tensor> expected = run_blocks(plain);
  const std::vector<Tensor> once = run_blocks(checkpoint);
  const std::vector<Tensor> nested = run_blocks([](const Function& fn, Vars x) {
    return checkpoint(
        [fn](Vars v) {
          return checkpoint(fn, {add(v[0], v[0]), v[1]});
        },
        {scale(x[0], 0.5), x[1]});
  });
  const std::vector<Tensor> nested_plain = run_blocks([](const Function& fn, Vars x) {
    const Var half = scale(x[0], 0.5);
    return fn({add(half, half), x[1]});
  });
  for (size_t i = 0; i < expected.size(); ++i) {
    expect_same_bits(once[i], expected[i], concat("tensor ", i));
    expect_same_bits(nested[i], nested_plain[i], concat("nested, tensor ", i));
  }
}

TEST(Checkpoint, LeafInputsTwiceTheSameInputAndConstants) {
  const Function fn = [](Vars v) -> std::vector<Var> {
    return {mul(v[0], add(v[1], v[2])), mul(v[3], v[4]), v[0]};
  };
  const auto run = [&](const auto& wrap) {
    const Var a = random_leaf({50}, 1), b = random_leaf({50}, 2);
    const Var m = gelu(a);
    const std::vector<Var> y = wrap(fn, {m, m, b, a, b.detach()});
    backward(sum(add(add(y[0], m), mul(y[1], y[2]))));
    return std::vector<Tensor>{y[0].data(), y[1].data(), a.grad(), b.grad()};
  };
  const std::vector<Tensor> expected = run(plain), got = run(checkpoint);
  for (size_t i = 0; i < got.size(); ++i)
    expect_same_bits(got[i], expected[i], concat("tensor ", i));
}

TEST(Checkpoint, ParametersOnlyAndOutputsWithoutGradient) {
  const Var w = leaf({2, 3});
  const Var x(Tensor::of<double>({5, 7}));
  const auto y = checkpoint(
      [&](Vars v) -> std::vector<Var> {
        return {mul(v[0], w), v[0].detach(), scale(w, 2)};
      },
      {x});
  backward({sum(add(y[0], y[1]))});  // y[2] is not used, y[1] has no graph in the replay
  EXPECT_EQ(grad_of(w), (Values{5, 7}));
}

TEST(Checkpoint, AlwaysRunsWhatIsInside) {
  int runs = 0, calls = 0;
  const Var x = leaf({1, 2});
  const auto y = checkpoint(
      [&](Vars v) -> std::vector<Var> {
        ++calls;
        return {counting(v[0], runs, true)};
      },
      {x});
  int after = 0;
  backward(sum(counting(y[0], after, true, false)));
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(runs, 1);
}

TEST(Checkpoint, WithoutGradIsJustTheFunction) {
  int calls = 0;
  NoGrad no_grad;
  const auto y = checkpoint(
      [&](Vars v) -> std::vector<Var> {
        ++calls;
        return {scale(v[0], 2)};
      },
      {leaf({4})});
  EXPECT_EQ(y[0].data().to_vector<double>(), Values{8});
  EXPECT_FALSE(y[0].requires_grad());
  EXPECT_EQ(calls, 1);
}

TEST(Checkpoint, AVarFromOutsideGetsItsGradient) {
  const auto run = [](const auto& wrap) {
    const Var a = random_leaf({50}, 1), b = random_leaf({50}, 2);
    const Var outside = gelu(b);
    const Var y = wrap([&](Vars v) -> std::vector<Var> { return {mul(v[0], outside)}; }, {a})[0];
    backward(add(mul(y, outside), outside));
    return std::vector<Tensor>{y.data(), a.grad(), b.grad()};
  };
  const std::vector<Tensor> expected = run(plain), got = run(checkpoint);
  for (size_t i = 0; i < got.size(); ++i)
    expect_same_bits(got[i], expected[i], concat("tensor ", i));
}

TEST(Checkpoint, KeepsOnlyTheInputs) {
  constexpr int64_t kBytes = 1 << 20;
  const Var x(Tensor::full({kBytes / 8}, 0.5, DType::F64), true);
  const Function deep = [](Vars v) -> std::vector<Var> {
    Var y = v[0];
    for (int i = 0; i < 8; ++i) y = sigmoid(y);
    return {y};
  };
  const int64_t start = allocator_stats().live_bytes;
  const Var y = checkpoint(deep, checkpoint(deep, checkpoint(deep, {x})))[0];
  EXPECT_LE(allocator_stats().live_bytes - start, 3 * kBytes + 4096);
  reset_peak();
  backward(y);
  // one segment of 8 at a time, beside the gradients
  EXPECT_LE(allocator_stats().peak_bytes - start, (3 + 8 + 4) * kBytes + 8192);
}

}  // namespace
}  // namespace switchyard
