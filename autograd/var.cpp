// The engine of reverse-mode differentiation (Griewank & Walther 2008, ch. 3): nodes, backward() and
// activation checkpointing. A node keeps what its gradient needs, never the values of its inputs as such,
// so a tensor lives only as long as some gradient still asks for it.
// Read before: var.h.
#include "autograd/var.h"

#include <algorithm>
#include <utility>

#include "tensor/kernels.h"

namespace switchyard {
namespace {

// Each rank is a thread with a tape of its own.
thread_local uint64_t next_sequence = 1;
thread_local uint64_t last_walk = 0;
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

// Sum of the gradients that arrived at one output. The first is borrowed (its maker may have handed it to
// several inputs), so the second makes a new tensor; only that one is added to in place.
struct GradSum {
  Tensor sum;
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

struct OutputInfo {
  Shape shape;
  DType dtype;
  Device device;
  Tensor zeros() const { return Tensor::zeros(shape, dtype, device); }
};

}  // namespace

struct Node {
  const char* name;
  uint64_t sequence;
  uint64_t walk = 0;  // the backward() that collected it; 0 = none yet
  bool always_run;
  // A checkpoint: receives the gradients as they are (undefined ones too), then the sums that its inputs
  // have so far, and returns the new sums. See checkpoint().
  bool continues_sums = false;
  std::vector<Edge> edges;          // one for each input
  std::vector<OutputInfo> outputs;  // what a gradient of each output looks like
  std::vector<GradSum> arrived;     // one for each output
  std::function<Grads(const Grads&)> backward;

  // Drops a chain of nodes that only this one keeps alive without recursion: graphs may be deep.
  ~Node() {
    std::vector<std::shared_ptr<Node>> dying;
    const auto take = [&](Node& n) {
      for (Edge& e : n.edges)
        if (e.node) dying.push_back(std::move(e.node));
    };
    take(*this);
    while (!dying.empty()) {
      const std::shared_ptr<Node> n = std::move(dying.back());
      dying.pop_back();
      if (n.use_count() == 1) take(*n);
    }
  }
};

namespace {

std::vector<Var> attach(const char* name, std::vector<Tensor> outputs,
                        const std::vector<Var>& inputs, std::function<Grads(const Grads&)> backward,
                        bool always_run, bool continues_sums) {
  std::vector<Var> result;
  for (const Tensor& y : outputs) result.emplace_back(y);
  const bool wanted = always_run || std::any_of(inputs.begin(), inputs.end(),
                                                [](const Var& x) { return x.requires_grad(); });
  if (!grad_is_enabled || !wanted) return result;

  const auto node = std::make_shared<Node>();
  node->name = name;
  node->sequence = next_sequence++;
  node->always_run = always_run;
  node->continues_sums = continues_sums;
  node->backward = std::move(backward);
  node->arrived.resize(outputs.size());
  for (const Var& x : inputs) node->edges.push_back(edge_to(x));
  for (const Tensor& y : outputs) node->outputs.push_back({y.shape(), y.dtype(), y.device()});
  for (size_t i = 0; i < result.size(); ++i) {
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
    to.node->arrived[to.output].add(g);
  } else if (to.leaf->grad.defined()) {
    add(to.leaf->grad, g, to.leaf->grad);
  } else {
    to.leaf->grad = g.clone();  // g may be shared with another input's gradient
  }
}

// All nodes that lead to the roots, by falling sequence number.
std::vector<std::shared_ptr<Node>> reachable(const std::vector<Var>& roots, uint64_t oldest) {
  const uint64_t walk = ++last_walk;
  std::vector<std::shared_ptr<Node>> found, stack;
  const auto visit = [&](const std::shared_ptr<Node>& n) {
    if (!n || n->walk == walk) return;
    check(n->sequence >= oldest, concat("checkpoint: its function uses the result of '", n->name,
                                        "' made outside; pass every such Var as an input"));
    check(n->walk == 0, concat("backward: node '", n->name, "' has run already and is freed"));
    n->walk = walk;
    stack.push_back(n);
  };
  for (const Var& root : roots) visit(edge_to(root).node);
  while (!stack.empty()) {
    found.push_back(std::move(stack.back()));
    stack.pop_back();
    const Node& n = *found.back();
    for (const Edge& e : n.edges) visit(e.node);
  }
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a->sequence > b->sequence; });
  return found;
}

void run_node(Node& node) {
  Grads dy;
  for (size_t i = 0; i < node.arrived.size(); ++i) {
    dy.push_back(std::move(node.arrived[i].sum));
    if (!dy[i].defined() && node.always_run && !node.continues_sums)
      dy[i] = node.outputs[i].zeros();
  }
  if (node.continues_sums) {
    for (const Edge& e : node.edges) {
      GradSum so_far = e.node ? std::exchange(e.node->arrived[e.output], {}) : GradSum{};
      dy.push_back(so_far.owned || !so_far.sum.defined() ? so_far.sum : so_far.sum.clone());
    }
  }
  auto function = std::move(node.backward);
  const Grads dx = function(dy);
  function = nullptr;  // frees what the node saved
  dy.clear();
  check(dx.size() == node.edges.size(), concat("backward of ", node.name, ": expected ",
                                               node.edges.size(), " gradients, got ", dx.size()));
  for (size_t i = 0; i < dx.size(); ++i) send(node.edges[i], dx[i], node.name);
}

// An undefined seed is no gradient. Nodes older than `oldest` must not be reached.
void walk(const std::vector<Var>& roots, const std::vector<Tensor>& seeds, uint64_t oldest) {
  NoGrad no_grad;
  std::vector<std::shared_ptr<Node>> order = reachable(roots, oldest);
  for (size_t i = 0; i < roots.size(); ++i) send(edge_to(roots[i]), seeds[i], "seed");
  for (std::shared_ptr<Node>& node : order) {
    const bool arrived = std::any_of(node->arrived.begin(), node->arrived.end(),
                                     [](const GradSum& g) { return g.sum.defined(); });
    if (arrived || node->always_run) run_node(*node);
    node->backward = nullptr;
    node->edges.clear();  // not recursive: `order` keeps the nodes before it
    node.reset();
  }
}

}  // namespace

Var::Var(Tensor data, bool requires_grad) : impl_(std::make_shared<Impl>()) {
  impl_->data = std::move(data);
  impl_->requires_grad = requires_grad;
}

bool grad_enabled() { return grad_is_enabled; }
NoGrad::NoGrad() : previous(std::exchange(grad_is_enabled, false)) {}
NoGrad::~NoGrad() { grad_is_enabled = previous; }
EnableGrad::EnableGrad() : previous(std::exchange(grad_is_enabled, true)) {}
EnableGrad::~EnableGrad() { grad_is_enabled = previous; }

Var make_node(const char* name, Tensor output, std::vector<Var> inputs,
              std::function<Grads(const Tensor&)> backward, NodeOptions options) {
  const auto first = [backward = std::move(backward)](const Grads& dy) { return backward(dy[0]); };
  return attach(name, {std::move(output)}, inputs, first, options.always_run, false)[0];
}

std::vector<Var> make_node(const char* name, std::vector<Tensor> outputs, std::vector<Var> inputs,
                           std::function<Grads(const Grads&)> backward, NodeOptions options) {
  return attach(name, std::move(outputs), inputs, std::move(backward), options.always_run, false);
}

void backward(const std::vector<Var>& roots, const std::vector<Tensor>& seeds) {
  check(seeds.empty() || seeds.size() == roots.size(),
        concat("backward: ", roots.size(), " roots, but ", seeds.size(), " seeds"));
  check(std::any_of(roots.begin(), roots.end(), [](const Var& r) { return r.requires_grad(); }),
        "backward: no root requires a gradient");
  std::vector<Tensor> starts(roots.size());
  for (size_t i = 0; i < roots.size(); ++i) {
    if (!seeds.empty()) starts[i] = seeds[i];
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
  std::vector<Tensor> outputs;
  {
    NoGrad no_grad;
    for (const Var& y : fn(inputs)) outputs.push_back(y.data());
  }
  std::vector<Var> saved;      // leaves and constants as they are, others cut from their graph
  std::vector<size_t> source;  // the first input that is the same Var
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Var& x = inputs[i];
    saved.push_back(edge_to(x).node ? x.detach() : x);
    const auto same = [&](const Var& other) { return other.impl() == x.impl(); };
    source.push_back(size_t(std::find_if(inputs.begin(), inputs.end(), same) - inputs.begin()));
  }
  std::vector<bool> made(inputs.size());  // made by a node, hence to be differentiated here
  for (size_t i = 0; i < inputs.size(); ++i) made[i] = edge_to(inputs[i]).node != nullptr;

  const size_t count = outputs.size();
  const auto replay = [=](const Grads& dy_and_sums) -> Grads {
    const std::vector<Tensor> seeds(dy_and_sums.begin(), dy_and_sums.begin() + count);
    std::vector<Var> x = saved;
    for (size_t i = 0; i < x.size(); ++i) {
      if (!made[i]) continue;
      x[i] = source[i] < i ? x[source[i]] : Var(saved[i].data(), true);
      if (source[i] == i) x[i].set_grad(dy_and_sums[count + i]);
    }
    const uint64_t oldest = next_sequence;
    std::vector<Var> y;
    {
      EnableGrad enable;
      y = fn(x);
    }
    check(y.size() == count, "checkpoint: the replay returned another number of outputs");
    walk(y, seeds, oldest);
    Grads sums(x.size());
    for (size_t i = 0; i < x.size(); ++i)
      if (made[i] && source[i] == i) sums[i] = x[i].grad();
    return sums;
  };
  return attach("checkpoint", outputs, inputs, replay, true, true);
}

}  // namespace switchyard
