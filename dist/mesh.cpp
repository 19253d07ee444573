// Mesh: the ranks of one exchange group are neighbours (0 .. G-1, G .. 2G-1, ...); replicas are G apart.
#include "dist/mesh.h"

namespace switchyard::dist {

ExpertLayout expert_layout(int num_experts, int ranks) {
  user_check(
      num_experts >= 1 && ranks >= 1 && (num_experts % ranks == 0 || ranks % num_experts == 0),
      concat(num_experts, " experts cannot be shared out over ", ranks,
             " ranks: one number must be a multiple of the other; change --moe-expert-count or "
             "--ranks"));
  return {num_experts, ranks};
}

Mesh make_mesh(const Comm& world, int num_experts) {
  const ExpertLayout layout = expert_layout(num_experts, world.size());
  const int me = world.rank(), group = layout.group_size();
  return {world, world.split(me / group, me), world.split(me % group, me), layout};
}

}  // namespace switchyard::dist
