// Mesh: how R ranks are cut into axes, and Topology: which ranks share a node. Values, made from flags
// (specs/hmoe 2.12): E >= R puts E/R experts on each rank; E < R makes R/E groups of E ranks, each with one
// expert, so that the ranks e, e+E, e+2E, ... hold replicas of expert e.
#pragma once
#include <algorithm>

#include "dist/comm.h"

namespace switchyard::dist {

struct Topology {
  int ranks = 1, ranks_per_node = 1;
  int node_of(int rank) const { return rank / ranks_per_node; }
  Level level(int a, int b) const {
    return a == b ? Level::Rank : node_of(a) == node_of(b) ? Level::Node : Level::Cluster;
  }
};

struct ExpertLayout {  // where the experts of one set live
  int num_experts = 1, ranks = 1;
  int group_size() const { return std::min(num_experts, ranks); }  // ranks of one exchange
  int replicas() const { return ranks / group_size(); }
  int num_local() const { return num_experts / group_size(); }
  int first_expert(int rank) const { return rank % group_size() * num_local(); }  // global index
};
// Throws UserError unless one of E, R is a multiple of the other.
inline ExpertLayout expert_layout(int num_experts, int ranks) {
  user_check(num_experts >= 1 && (num_experts % ranks == 0 || ranks % num_experts == 0),
             concat(num_experts, " experts cannot be shared out over ", ranks,
                    " ranks: one number must be a multiple of the other; change "
                    "--moe-expert-count or --ranks"));
  return {num_experts, ranks};
}

struct Mesh {
  Comm world;     // all ranks
  Comm expert;    // the ranks of this rank's exchange group
  Comm replicas;  // the ranks that hold the same experts
  ExpertLayout layout;
  double expert_grad_scale =
      1;                   // of the summed expert gradients (specs/hmoe.md 2.12: sqrt_world_size)
  bool fast_sums = false;  // of gradients, see Comm::all_reduce_fast
};
// The ranks of one exchange group are neighbours (0 .. G-1, G .. 2G-1, ...); replicas are G apart. Collective.
inline Mesh make_mesh(const Comm& world, int num_experts) {
  const ExpertLayout layout = expert_layout(num_experts, world.size());
  const int me = world.rank(), group = layout.group_size();
  return {world, world.split(me / group, me), world.split(me % group, me), layout};
}

}  // namespace switchyard::dist
