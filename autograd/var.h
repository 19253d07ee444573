// Reverse-mode differentiation: a Var is a tensor with a place in the graph that made it.
// Every op makes a Node that knows its inputs and how to turn the gradients of its outputs into the
// gradients of its inputs. Node creation order is a topological order, so backward() walks the
// reachable nodes by falling sequence number. Read next: ops.h.
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "tensor/tensor.h"

namespace switchyard {

struct Node;
// One for each input, in order; an undefined Tensor = no gradient
using Grads = std::vector<Tensor>;

// Where the gradients of one tensor arrive: at a leaf, at rows of one, or at an output of the node that made it.
struct GradSlot {
  Shape shape;
  DType dtype;
  Device device;
  Node* node = nullptr;                  // null for a leaf
  Tensor sum = {};                       // of what has arrived
  std::shared_ptr<GradSlot> whole = {};  // of part(): what has arrived lies there, from row `begin`
  int64_t begin = 0;
  int64_t unset_before = 0,
          unset_after = 0;  // first and last rows of sum that are 0, but not written yet
  void complete();          // writes them
};

class Var {
 public:
  Var() = default;                                        // undefined
  explicit Var(Tensor data, bool requires_grad = false);  // a leaf
  Var(Tensor data, std::shared_ptr<GradSlot> slot);       // an op's output
  bool defined() const { return impl_ != nullptr; }
  const Tensor& data() const { return impl_->data; }
  // Parameters only: the optimizer and loading. Who writes into data() in place says so.
  void set_data(Tensor t) { impl_->data = std::move(t), data_changed(); }
  void data_changed() { impl_->converted = {}; }
  // data() in type t; kept, so that a parameter is converted once for all its uses
  Tensor as(DType t) const;
  // Accumulated gradient of a leaf; undefined until the first backward.
  Tensor grad() const {
    if (!requires_grad()) return {};
    impl_->slot->complete();
    return impl_->slot->sum;
  }
  void set_grad(Tensor g) {
    impl_->slot->sum = std::move(g);
    impl_->slot->unset_before = impl_->slot->unset_after = 0;
  }
  bool requires_grad() const { return slot() != nullptr; }
  const Shape& shape() const { return data().shape(); }
  int64_t dim(int i) const { return data().dim(i); }
  Var detach() const { return Var(data()); }
  std::shared_ptr<GradSlot> slot() const { return impl_ ? impl_->slot : nullptr; }

 private:
  struct Impl {
    Tensor data;
    std::shared_ptr<GradSlot> slot;    // null: no gradient is wanted
    Tensor converted = {};             // of as()
    std::shared_ptr<Impl> whole = {};  // of part()
    int64_t begin = 0;
  };
  std::shared_ptr<Impl> impl_;
  friend Var part(const Var& leaf, int64_t begin, int64_t end);
};

// Rows [begin, end) of a leaf, shared. Their gradients are added to the leaf's own.
Var part(const Var& leaf, int64_t begin, int64_t end);

// backward: gradient of the output -> gradients of the inputs. Capture tensors, never a Var. An undefined
// Var among the inputs stands for an absent one.
// always_run: runs in backward even when no gradient reached its output (it counts as zeros): for nodes with
// a collective inside, which every rank must join.
// Outside of a graph (NoGrad, or no input requires a gradient and not always_run) only the value is kept.
Var make_node(const char* name, const Tensor& output, const std::vector<Var>& inputs,
              std::function<Grads(const Tensor&)> backward, bool always_run = false);

// Adds d(sum_i <root_i, seed_i>)/d(leaf) to the grad of every leaf that requires one. An undefined seed
// means ones. Frees what the nodes saved as soon as they have run.
void backward(const std::vector<Var>& roots, const std::vector<Tensor>& seeds = {});
inline void backward(const Var& root) { backward(std::vector<Var>{root}); }

bool grad_enabled();  // of this thread
class GradMode {      // with false no graph is built while it lives
 public:
  explicit GradMode(bool enabled);
  ~GradMode();
  GradMode(const GradMode&) = delete;

 private:
  bool previous_;
};
struct NoGrad : GradMode {
  NoGrad() : GradMode(false) {}
};

// Activation checkpointing (Chen et al. 2016): forward keeps only the inputs; backward runs fn again and
// differentiates that. fn must do the same each time: random numbers are keyed by site, integer decisions
// are replayed by the caller's recorder. Parameters that fn uses get their gradients as usual.
std::vector<Var> checkpoint(const std::function<std::vector<Var>(const std::vector<Var>&)>& fn,
                            const std::vector<Var>& inputs);

}  // namespace switchyard
