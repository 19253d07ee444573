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

}  // namespace

struct Node {
  const char* name;
  uint64_t sequence;
  bool always_run;
  // One of the two, empty once it has run: the gradient of an op with one output; or, of a checkpoint,
  // what makes its outputs again.
  std::function<Grads(const Tensor&)> backward;
  std::function<std::vector<Var>()> replay;
  std::vector<std::shared_ptr<GradSlot>> inputs = {};  // null where no gradient is wanted
  std::vector<GradSlot> outputs = {};  // shared with their Vars, which keep the node

  // Drops a chain of nodes that only this one keeps alive without recursion: graphs may be deep.
  ~Node() {
    auto dying = std::move(inputs);
    while (!dying.empty()) {
      const std::shared_ptr<GradSlot> x = std::move(dying.back());
      dying.pop_back();
      if (x.use_count() == 1 && x->node)
        std::ranges::move(x->node->inputs, std::back_inserter(dying));
    }
  }
};

namespace {

// The outputs as Vars, made by `node` unless no gradient will be asked of it.
std::vector<Var> attach(const std::shared_ptr<Node>& node, const std::vector<Tensor>& outputs,
                        const std::vector<Var>& inputs) {
  const bool wanted = node->always_run || std::ranges::any_of(inputs, &Var::requires_grad);
  for (const Tensor& y : outputs)
    node->outputs.push_back({y.shape(), y.dtype(), y.device(), node.get()});
  for (const Var& x : inputs) node->inputs.push_back(x.slot());
  std::vector<Var> result;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const std::shared_ptr<GradSlot> slot(node, &node->outputs[i]);
    result.emplace_back(outputs[i], grad_is_enabled && wanted ? slot : nullptr);
  }
  return result;
}

// Adds g to the rows of a leaf's sum from `begin` on. The first to arrive, and then their neighbours, are copied.
void add_rows(GradSlot& leaf, int64_t begin, const Tensor& g) {
  const int64_t all = leaf.shape[0], end = begin + g.dim(0);
  if (!leaf.sum.defined()) {
    leaf.sum = Tensor::empty(leaf.shape, g.dtype(), g.device());
    leaf.unset_before = begin, leaf.unset_after = all - begin;
  }
  Tensor rows = leaf.sum.slice(begin, end);
  if (begin == all - leaf.unset_after && end > begin) {
    convert(g, rows);
    leaf.unset_after = all - end;
  } else if (end == leaf.unset_before) {
    convert(g, rows);
    leaf.unset_before = begin;
  } else {
    leaf.complete();
    add(rows, g, rows);
  }
}

// Adds gradient g, made by node `from`, to the slot. A sum is added to in place at leaves only, which take g
// itself when nobody else has it: a node may hand one gradient to several inputs.
void send(GradSlot* to, Tensor g, const char* from) {
  if (!to || !g.defined()) return;
  check(g.shape() == to->shape && g.dtype() == to->dtype,
        concat("gradient from ", from, ": expected ", name_of(to->dtype), to_string(to->shape),
               ", got ", name_of(g.dtype()), to_string(g.shape())));
  to->complete();
  if (to->whole) {
    add_rows(*to->whole, to->begin, g);
  } else if (!to->sum.defined()) {
    to->sum = to->node || g.unique() ? std::move(g) : g.clone();
  } else {
    Tensor total = to->node ? empty_like(g) : to->sum;
    add(to->sum, g, total);
    to->sum = total;
  }
}

// The gradients of a node's inputs. What it saved for them is freed on return.
Grads run_node(Node& node) {
  GradSlot& y = node.outputs[0];
  const auto backward = std::exchange(node.backward, nullptr);
  if (!y.sum.defined() && !node.always_run) return Grads(node.inputs.size());
  const Tensor dy =
      y.sum.defined() ? std::exchange(y.sum, {}) : Tensor::zeros(y.shape, y.dtype, y.device);
  Grads dx = backward(dy);
  check(dx.size() == node.inputs.size(), concat("backward of ", node.name, ": expected ",
                                                node.inputs.size(), " gradients, got ", dx.size()));
  return dx;
}

}  // namespace

void GradSlot::complete() {
  if (unset_before + unset_after == 0) return;
  for (const auto& [begin, end] :
       {std::pair(int64_t(0), unset_before), std::pair(shape[0] - unset_after, shape[0])}) {
    Tensor rows = sum.slice(begin, end);
    fill(0, rows);
  }
  unset_before = unset_after = 0;
}

Var::Var(Tensor data, bool requires_grad) : Var(std::move(data), nullptr) {
  const Tensor& x = impl_->data;
  if (requires_grad) impl_->slot.reset(new GradSlot{x.shape(), x.dtype(), x.device()});
}
Var::Var(Tensor data, std::shared_ptr<GradSlot> slot)
    : impl_(new Impl{std::move(data), std::move(slot)}) {}

Tensor Var::as(DType t) const {
  if (data().dtype() == t) return data();
  if (impl_->whole) {
    Var leaf;
    leaf.impl_ = impl_->whole;
    return leaf.as(t).slice(impl_->begin, impl_->begin + dim(0));
  }
  Tensor& kept = impl_->converted;
  if (!kept.defined() || kept.dtype() != t) kept = data().to(t);
  return kept;
}

Var part(const Var& leaf, int64_t begin, int64_t end) {
  if (begin == 0 && end == leaf.dim(0)) return leaf;
  const std::shared_ptr<GradSlot> whole = leaf.slot();
  check(!whole || !whole->node, "part: of a leaf only");
  const Tensor rows = leaf.data().slice(begin, end);
  Var x(rows);
  if (whole)
    x.impl_->slot.reset(
        new GradSlot{rows.shape(), rows.dtype(), rows.device(), nullptr, {}, whole, begin});
  x.impl_->whole = leaf.impl_;
  x.impl_->begin = begin;
  return x;
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
  const auto visit = [&](const std::shared_ptr<GradSlot>& x) {
    if (!x || !x->node) return;
    check(x->node->backward || x->node->replay,
          concat("backward: node '", x->node->name, "' has run already and is freed"));
    waiting.emplace(x->node->sequence, std::shared_ptr<Node>(x, x->node));
  };
  const auto start = [&](const Var& root, const Tensor& gradient) {
    visit(root.slot());
    send(root.slot().get(), gradient, "seed");
  };
  for (size_t i = 0; i < roots.size(); ++i) {
    const Tensor& y = roots[i].data();
    const bool given = !seeds.empty() && seeds[i].defined();
    start(roots[i], given ? seeds[i] : Tensor::full(y.shape(), 1, y.dtype(), y.device()));
  }
  while (!waiting.empty()) {
    const std::shared_ptr<Node> node = waiting.extract(std::prev(waiting.end())).mapped();
    for (const auto& x : node->inputs) visit(x);
    if (const auto replay = std::exchange(node->replay, nullptr)) {
      const std::vector<Var> again = replay();  // newer than all that wait: they run next
      check(again.size() == node->outputs.size(), "checkpoint: the replay has other outputs");
      for (size_t i = 0; i < again.size(); ++i)
        start(again[i], std::exchange(node->outputs[i].sum, {}));
    } else {
      Grads dx = run_node(*node);
      for (size_t i = 0; i < dx.size(); ++i)
        send(node->inputs[i].get(), std::move(dx[i]), node->name);
    }
    node->inputs.clear();  // not recursive: `waiting` keeps the nodes before it
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
