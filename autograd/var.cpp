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

// One output of a node: what its gradient looks like, and the sum of those that arrived. A gradient is
// never added to in place: its maker may have handed it to several inputs.
struct Output {
  Shape shape;
  DType dtype;
  Device device;
  Tensor sum = {};

  void add(const Tensor& g) {
    Tensor total = sum.defined() ? empty_like(sum) : g;
    if (sum.defined()) switchyard::add(sum, g, total);
    sum = total;
  }
};

}  // namespace

struct Node {
  const char* name;
  uint64_t sequence;
  bool always_run;
  // One of the two, empty once it has run: the gradient of an op with one output; or, of a checkpoint,
  // what makes its outputs again.
  std::function<Grads(const Tensor&)> backward;
  std::function<std::vector<Var>()> replay;
  std::vector<Edge> edges = {};  // one for each input
  std::vector<Output> outputs = {};

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

// The outputs as Vars, made by `node` unless no gradient will be asked of it.
std::vector<Var> attach(const std::shared_ptr<Node>& node, const std::vector<Tensor>& outputs,
                        const std::vector<Var>& inputs) {
  std::vector<Var> result;
  for (const Tensor& y : outputs) result.emplace_back(y);
  const bool wanted = node->always_run || std::ranges::any_of(inputs, &Var::requires_grad);
  if (!grad_is_enabled || !wanted) return result;
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

// The gradients of a node's inputs. What it saved for them is freed on return.
Grads run_node(Node& node) {
  Output& y = node.outputs[0];
  const auto backward = std::exchange(node.backward, nullptr);
  if (!y.sum.defined() && !node.always_run) return Grads(node.edges.size());
  const Tensor dy =
      y.sum.defined() ? std::exchange(y.sum, {}) : Tensor::zeros(y.shape, y.dtype, y.device);
  Grads dx = backward(dy);
  check(dx.size() == node.edges.size(), concat("backward of ", node.name, ": expected ",
                                               node.edges.size(), " gradients, got ", dx.size()));
  return dx;
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
              std::function<Grads(const Tensor&)> backward, bool always_run) {
  const std::shared_ptr<Node> node(
      new Node{name, next_sequence++, always_run, std::move(backward), nullptr});
  return attach(node, {output}, inputs)[0];
}

// All nodes that lead to the roots run by falling sequence number: a node's inputs come after it.
void backward(const std::vector<Var>& roots, const std::vector<Tensor>& seeds) {
  check(seeds.empty() || seeds.size() == roots.size(),
        concat("backward: ", roots.size(), " roots, but ", seeds.size(), " seeds"));
  check(std::ranges::any_of(roots, &Var::requires_grad), "backward: no root requires a gradient");
  NoGrad no_grad;
  std::map<uint64_t, std::shared_ptr<Node>> waiting;
  const auto visit = [&](const Edge& e) {
    if (!e.node) return;
    check(e.node->backward || e.node->replay,
          concat("backward: node '", e.node->name, "' has run already and is freed"));
    waiting.emplace(e.node->sequence, e.node);
  };
  const auto start = [&](const Var& root, const Tensor& gradient) {
    visit(edge_to(root));
    send(edge_to(root), gradient, "seed");
  };
  for (size_t i = 0; i < roots.size(); ++i) {
    const Tensor& y = roots[i].data();
    const bool given = !seeds.empty() && seeds[i].defined();
    start(roots[i], given ? seeds[i] : Tensor::full(y.shape(), 1, y.dtype(), y.device()));
  }
  while (!waiting.empty()) {
    const std::shared_ptr<Node> node = waiting.extract(std::prev(waiting.end())).mapped();
    for (const Edge& e : node->edges) visit(e);
    if (const auto replay = std::exchange(node->replay, nullptr)) {
      const std::vector<Var> again = replay();  // newer than all that wait: they run next
      check(again.size() == node->outputs.size(), "checkpoint: the replay has other outputs");
      for (size_t i = 0; i < again.size(); ++i) start(again[i], node->outputs[i].sum);
    } else {
      const Grads dx = run_node(*node);
      for (size_t i = 0; i < dx.size(); ++i) send(node->edges[i], dx[i], node->name);
    }
    node->outputs.clear();
    node->edges.clear();  // not recursive: `waiting` keeps the nodes before it
  }
}

// The replay's nodes lead to the nodes that made the inputs, so from there on backward() meets the graph
// that would have been without checkpointing: every gradient is added in the same order, to the bit. The
// node always runs: fn may hold collectives, and may use parameters even if no input has a gradient.
std::vector<Var> checkpoint(const std::function<std::vector<Var>(const std::vector<Var>&)>& fn,
                            const std::vector<Var>& inputs) {
  const auto run = [fn, inputs](bool with_graph) {
    const GradMode mode(with_graph);
    return fn(inputs);
  };
  std::vector<Tensor> outputs;
  for (const Var& y : run(false)) outputs.push_back(y.data());
  const std::shared_ptr<Node> node(
      new Node{"checkpoint", next_sequence++, true, nullptr, [run] { return run(true); }});
  return attach(node, outputs, inputs);
}

}  // namespace switchyard
