// What a run says about itself before its first update.
#include "apps/common/hmoe_app.h"

#include <unistd.h>

#include <iomanip>
#include <iostream>

namespace switchyard {

namespace {

std::string millions(int64_t n) {
  return concat(std::fixed, std::setprecision(2), double(n) / 1e6, " M");
}

// Parameters that a token meets in one round: all but the experts that it did not choose.
int64_t active_parameters(const HmoeAppConfig& config, Transformer& model) {
  int64_t experts = 0;  // of all blocks
  for (const NamedParam& p : parameters(model))
    if (p.param->placement == Placement::ExpertSharded)
      experts += numel_of(p.param->global_shape());
  const int total = std::max(config.hmoe.moe_expert_count, 1);
  const int chosen = std::min(config.hmoe.moe_top1_expert ? 1 : 2, total);
  return parameter_count(model) - experts + experts / total * chosen;
}

}  // namespace

void print_banner(const HmoeAppConfig& config, const TranslationSource& source, Transformer& model,
                  const dist::Mesh& mesh, const dist::Runtime& runtime,
                  const std::vector<std::string>& notes) {
  const dist::Comm& world = runtime.world;
  const dist::ExpertLayout& layout = mesh.layout;
  const int on_node = runtime.topology.ranks_per_node;
  // parameters, gradients, two moments
  const int64_t rank_bytes = 4 * 4 * parameter_count(model, false);
  const int64_t node_bytes = rank_bytes * std::min(world.size(), on_node);
  const int64_t machine = int64_t(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  user_check(node_bytes < machine,
             concat("parameters, gradients and optimizer of ", on_node, " ranks on a node need ",
                    node_bytes >> 20, " MiB, this machine has ", machine >> 20,
                    " MiB: fewer ranks on a node, or a smaller model"));
  if (world.rank() != 0) return;
  std::cout << "layout      " << world.size() << " ranks in " << runtime.processes
            << " processes x " << runtime.threads_per_rank << " threads, " << runtime.cpus
            << " CPUs a process, " << on_node << " ranks a node\n";
  if (config.hmoe.moe_type != "dense") {
    std::cout << "experts     " << layout.num_experts << " a block: " << layout.num_local()
              << " on each rank x " << layout.replicas() << " replicas; by stratum";
    for (const int64_t experts : config.hmoe.strata()) std::cout << " " << experts;
    std::cout << "\n";
  }
  std::cout << "parameters  " << millions(parameter_count(model)) << " in all, "
            << millions(active_parameters(config, model)) << " active for a token in one round, "
            << millions(parameter_count(model, false)) << " on rank 0 (" << (rank_bytes >> 20)
            << " MiB with gradients and optimizer)\n"
            << "data        " << source.origin() << ": " << source.directions().size()
            << " directions, vocabulary " << source.vocabulary_size() << "\n";
  if (config.data.data.empty())
    std::cout << "            no --data given: training the built-in synthetic task\n";
  std::cout << "run         seed " << config.train.seed << ", " << config.train.max_update
            << " updates, folder " << config.train.save_dir << "\n";
  for (const std::string& note : notes) std::cout << "note        " << note << "\n";
  std::cout << std::flush;
}

}  // namespace switchyard
