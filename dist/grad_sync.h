// Gradients of an update: summed over ranks in the fixed tree, and their global norm.
// dist knows no parameters: it gets tensors in canonical order (of their paths), and whether they are sharded over
// ranks.
#pragma once
#include "dist/mesh.h"

namespace switchyard::dist {

struct GradEntry {
  Tensor grad;           // summed in place; sharded: [experts held here, ...]
  bool sharded = false;  // false: replicated on all ranks; true: experts, see Mesh
};

// Sums over world (replicated) or over replicas (sharded, then times expert_grad_scale) in flat buckets.
void sync_gradients(const Mesh& mesh, std::vector<GradEntry>& entries);

// sqrt of the sum of squares in the order of entry, expert, block of 4096: each expert and each
// replicated tensor counts once. `expert` is the exchange group that together holds every expert once, in order.
double gradient_norm(const Comm& expert, const std::vector<GradEntry>& entries);

}  // namespace switchyard::dist
