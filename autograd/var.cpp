// The engine of reverse-mode differentiation (Griewank & Walther 2008, ch. 3): nodes, backward() and
// activation checkpointing. A node keeps what its gradient needs, never the values of its inputs as such,
// so a tensor lives only as long as some gradient still asks for it.
// Read before: var.h.
#include "autograd/var.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

#include "tensor/kernels.h"

namespace switchyard {
namespace {

// Each rank is a thread with a tape of its own.
thread_local uint64_t next_sequence = 1;
thread_local bool grad_is_enabled = true;

// Where a gradient goes: to an output of the node that made the input, to a leaf, or nowhere.
struct Edge {
  std::shared_ptr<Node> node;
  int output = 0;
  std::shared_ptr<Var::Impl> leaf;
};

Edge edge_to(const Var& x) {
  if (!x.requires_grad()) return {};
  if (x.impl()->node) return {x.impl()->node, x.impl()->output, nullptr};
  return {nullptr, 0, x.impl()};
}

// One output of a node: what its gradient looks like, and the sum of those that arrived. The first is
// borrowed (its maker may have handed it to several inputs), so the second makes a new tensor; only that
// one is added to in place.
struct Output {
  Shape shape;
  DType dtype;
  Device device;
  Tensor sum = {};
  bool owned = false;

  void add(const Tensor& g) {
    if (!sum.defined()) {
      sum = g;
      return;
    }
    Tensor total = owned ? sum : empty_like(sum);
    switchyard::add(sum, g, total);
    sum = total;
    owned = true;
  }
};

}  // namespace

struct Node {
  const char* name;
  uint64_t sequence;
  bool always_run;
  // A checkpoint: receives the gradients as they are (undefined ones too), then the sums that its inputs
  // have so far, and returns the new sums. See checkpoint().
  bool continues_sums;
  std::vector<Edge> edges;  // one for each input
  std::vector<Output> outputs;
  std::function<Grads(const Grads&)> backward;  // empty once it has run

  // Drops a chain of nodes that only this one keeps alive without recursion: graphs may be deep.
  ~Node() {
    std::vector<Edge> dying = std::move(edges);
    while (!dying.empty()) {
      const std::shared_ptr<Node> n = std::move(dying.back().node);
      dying.pop_back();
      if (n.use_count() == 1) std::ranges::move(n->edges, std::back_inserter(dying));
    }
  }
};

namespace {

std::vector<Var> attach(const char* name, const std::vector<Tensor>& outputs,
                        const std::vector<Var>& inputs, std::function<Grads(const Grads&)> backward,
                        bool always_run, bool continues_sums) {
  std::vector<Var> result;
  for (const Tensor& y : outputs) result.emplace_back(y);
  const bool wanted = always_run || std::ranges::any_of(inputs, &Var::requires_grad);
  if (!grad_is_enabled || !wanted) return result;

  const std::shared_ptr<Node> node(
      new Node{name, next_sequence++, always_run, continues_sums, {}, {}, std::move(backward)});
  for (const Var& x : inputs) node->edges.push_back(edge_to(x));
  for (size_t i = 0; i < result.size(); ++i) {
    const Tensor& y = outputs[i];
    node->outputs.push_back({y.shape(), y.dtype(), y.device()});
    result[i].impl()->node = node;
    result[i].impl()->output = int(i);
  }
  return result;
}

// Adds gradient g, made by node `from`, to where the edge leads.
void send(const Edge& to, const Tensor& g, const char* from) {
  if (!g.defined() || (!to.node && !to.leaf)) return;
  const Shape& shape = to.node ? to.node->outputs[to.output].shape : to.leaf->data.shape();
  const DType dtype = to.node ? to.node->outputs[to.output].dtype : to.leaf->data.dtype();
  check(g.shape() == shape && g.dtype() == dtype,
        concat("gradient from ", from, ": expected ", name_of(dtype), to_string(shape), ", got ",
               name_of(g.dtype()), to_string(g.shape())));
  if (to.node) {
    to.node->outputs[to.output].add(g);
  } else if (to.leaf->grad.defined()) {
    add(to.leaf->grad, g, to.leaf->grad);
  } else {
    to.leaf->grad = g.clone();  // g may be shared with another input's gradient
  }
}

void run_node(Node& node) {
  const bool arrived =
      std::ranges::any_of(node.outputs, [](const Output& y) { return y.sum.defined(); });
  auto function = std::exchange(node.backward, nullptr);
  if (!arrived && !node.always_run) return;
  Grads dy;
  for (Output& y : node.outputs) {
    const bool zeros = !y.sum.defined() && node.always_run && !node.continues_sums;
    dy.push_back(zeros ? Tensor::zeros(y.shape, y.dtype, y.device) : std::move(y.sum));
  }
  for (const Edge& e : node.edges) {
    if (!node.continues_sums) break;
    Tensor so_far;
    if (e.node) {
      Output& y = e.node->outputs[e.output];
      so_far = std::exchange(y.sum, {});
      if (so_far.defined() && !std::exchange(y.owned, false)) so_far = so_far.clone();
    }
    dy.push_back(so_far);
  }
  const Grads dx = function(dy);
  function = nullptr;  // frees what the node saved
  dy.clear();
  check(dx.size() == node.edges.size(), concat("backward of ", node.name, ": expected ",
                                               node.edges.size(), " gradients, got ", dx.size()));
  for (size_t i = 0; i < dx.size(); ++i) send(node.edges[i], dx[i], node.name);
}

// Runs all nodes that lead to the roots, by falling sequence number: a node's inputs come after it. An
// undefined seed is no gradient. Nodes older than `oldest` must not be reached.
void walk(const std::vector<Var>& roots, const std::vector<Tensor>& seeds, uint64_t oldest) {
  NoGrad no_grad;
  std::map<uint64_t, std::shared_ptr<Node>> waiting;
  const auto visit = [&](const Edge& e) {
    if (!e.node) return;
    check(e.node->sequence >= oldest,
          concat("checkpoint: its function uses the result of '", e.node->name,
                 "' made outside; pass every such Var as an input"));
    check(bool(e.node->backward),
          concat("backward: node '", e.node->name, "' has run already and is freed"));
    waiting.emplace(e.node->sequence, e.node);
  };
  for (size_t i = 0; i < roots.size(); ++i) {
    visit(edge_to(roots[i]));
    send(edge_to(roots[i]), seeds[i], "seed");
  }
  while (!waiting.empty()) {
    const std::shared_ptr<Node> node = waiting.extract(std::prev(waiting.end())).mapped();
    for (const Edge& e : node->edges) visit(e);
    run_node(*node);
    node->edges.clear();  // not recursive: `waiting` keeps the nodes before it
  }
}

}  // namespace

Var::Var(Tensor data, bool requires_grad) : impl_(std::make_shared<Impl>()) {
  impl_->data = std::move(data);
  impl_->requires_grad = requires_grad;
}

bool grad_enabled() { return grad_is_enabled; }
GradMode::GradMode(bool enabled) : previous_(std::exchange(grad_is_enabled, enabled)) {}
GradMode::~GradMode() { grad_is_enabled = previous_; }

Var make_node(const char* name, const Tensor& output, const std::vector<Var>& inputs,
              std::function<Grads(const Tensor&)> backward, NodeOptions options) {
  const auto first = [backward = std::move(backward)](const Grads& dy) { return backward(dy[0]); };
  return attach(name, {output}, inputs, first, options.always_run, false)[0];
}

void backward(const std::vector<Var>& roots, const std::vector<Tensor>& seeds) {
  check(seeds.empty() || seeds.size() == roots.size(),
        concat("backward: ", roots.size(), " roots, but ", seeds.size(), " seeds"));
  check(std::ranges::any_of(roots, &Var::requires_grad), "backward: no root requires a gradient");
  std::vector<Tensor> starts = seeds;
  starts.resize(roots.size());
  for (size_t i = 0; i < roots.size(); ++i) {
    if (starts[i].defined() || !roots[i].requires_grad()) continue;
    starts[i] = empty_like(roots[i].data());
    fill(1, starts[i]);
  }
  walk(roots, starts, 0);
}

// The replay continues the sums that the inputs' gradients have reached so far, instead of returning a
// sum of its own: then every gradient is added in the same order as without checkpointing, to the bit.
// Leaves among the inputs take part as they are. The node always runs: fn may hold collectives, and may
// use parameters even if no input requires a gradient.
std::vector<Var> checkpoint(const std::function<std::vector<Var>(const std::vector<Var>&)>& fn,
                            const std::vector<Var>& inputs) {
  const auto run = [fn](const std::vector<Var>& x, bool grad) {
    const GradMode mode(grad);
    return fn(x);
  };
  std::vector<Tensor> outputs;
  for (const Var& y : run(inputs, false)) outputs.push_back(y.data());
  struct Input {
    Var saved;     // a leaf or constant as it is, any other cut from its graph
    bool made;     // by a node, hence to be differentiated here
    size_t first;  // the first input that is the same Var
  };
  std::vector<Input> saved;
  for (const Var& x : inputs) {
    const bool made = edge_to(x).node != nullptr;
    const auto first = std::ranges::find(inputs, x.impl(), &Var::impl) - inputs.begin();
    saved.push_back({made ? x.detach() : x, made, size_t(first)});
  }
  const size_t count = outputs.size();
  const auto replay = [=](const Grads& dy_and_sums) -> Grads {
    const std::vector<Tensor> seeds(dy_and_sums.begin(), dy_and_sums.begin() + count);
    std::vector<Var> x;
    for (size_t i = 0; i < saved.size(); ++i) {
      const auto& [input, made, first] = saved[i];
      const bool fresh = made && first == i;
      x.push_back(fresh ? Var(input.data(), true) : made ? x[first] : input);
      if (fresh) x[i].set_grad(dy_and_sums[count + i]);
    }
    const uint64_t oldest = next_sequence;
    const std::vector<Var> y = run(x, true);
    check(y.size() == count, "checkpoint: the replay returned another number of outputs");
    walk(y, seeds, oldest);
    Grads sums(x.size());
    for (size_t i = 0; i < x.size(); ++i)
      if (saved[i].made && saved[i].first == i) sums[i] = x[i].grad();
    return sums;
  };
  return attach("checkpoint", outputs, inputs, replay, true, true);
}

}  // namespace switchyard
