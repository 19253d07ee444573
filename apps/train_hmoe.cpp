// Train a transformer with stratified mixture-of-experts layers (HMoE) for translation.
// Source: specs of HMoE, sections 2-4. Without --data it trains a built-in synthetic task.
#include "apps/common/hmoe_app.h"
#include "apps/common/routing_report.h"
#include "apps/common/run_folder.h"
#include "apps/common/text_table.h"
#include "apps/common/trainer.h"

using namespace switchyard;

namespace {

using Source = std::shared_ptr<const TranslationSource>;

std::string millions(double n) { return fixed(n / 1e6, 2) + " M"; }

// What a run says about itself before its first update: layout, parameters, memory, data, seed. Rank 0 prints to
// standard output; collective. UserError when the ranks of a node need more memory for parameters, gradients and
// optimizer than the machine has.
void print_banner(const HmoeAppConfig& config, const TranslationSource& source, Transformer& model,
                  const dist::Mesh& mesh, const dist::Runtime& runtime,
                  const std::vector<std::string>& notes) {
  const dist::Comm& world = runtime.world;
  const dist::ExpertLayout& layout = mesh.layout;
  const int on_node = runtime.topology.ranks_per_node;
  // parameters, gradients, two moments, and the parameters in bf16
  const int64_t copies = config.train.precision == "bf16" ? 2 : 0;
  const int64_t rank_bytes = (4 * 4 + copies) * parameter_count(model, false);
  const int64_t node_bytes = rank_bytes * std::min(world.size(), on_node);
  const int64_t machine = int64_t(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  user_check(node_bytes < machine,
             concat("parameters, gradients and optimizer of ", on_node, " ranks on a node need ",
                    node_bytes >> 20, " MiB, this machine has ", machine >> 20,
                    " MiB: fewer ranks on a node, or a smaller model"));
  if (world.rank() != 0) return;
  const Cost one_round = total(model_cost(config.model, config.hmoe, source.vocabulary_size(),
                                          assumed_use(config.model, config.hmoe)));
  std::cout << "layout      " << world.size() << " ranks in " << runtime.processes
            << " processes x " << runtime.threads_per_rank << " threads, " << runtime.cpus
            << " CPUs a process, " << on_node << " ranks a node\n"
            << "device      " << device_name(runtime.device) << ", " << config.train.precision
            << "\n";
  if (!runtime.gpu_way.empty()) std::cout << "exchange    " << runtime.gpu_way << "\n";
  if (const char* tf32 = std::getenv("NVIDIA_TF32_OVERRIDE"))
    std::cout << "note        NVIDIA_TF32_OVERRIDE=" << tf32
              << " changes products of f32 on the GPU\n";
  if (config.hmoe.moe_type != "dense") {
    std::cout << "experts     " << layout.num_experts << " a block: " << layout.num_local()
              << " on each rank x " << layout.replicas() << " replicas; by stratum";
    for (const int64_t experts : config.hmoe.strata()) std::cout << " " << experts;
    std::cout << "\n";
  }
  std::cout << "parameters  " << millions(one_round.parameters) << " in all, "
            << millions(one_round.active) << " active for a token in one round ("
            << millions(one_round.flops) << " FLOPs), "
            << millions(double(parameter_count(model, false))) << " on rank 0 ("
            << (rank_bytes >> 20) << " MiB with gradients and optimizer)\n"
            << "data        " << source.origin() << ": " << source.directions().size()
            << " directions, vocabulary " << source.vocabulary_size() << "\n";
  if (config.data.data.empty())
    std::cout << "            no --data given: training the built-in synthetic task\n";
  std::cout << "run         seed " << config.train.seed << ", " << config.train.max_update
            << " updates, folder " << config.train.save_dir << "\n";
  for (const std::string& note : notes) std::cout << "note        " << note << "\n";
  std::cout << std::flush;
}

// start: the checkpoint to begin with; empty = none
void train(HmoeAppConfig config, const Source& source, const std::string& start,
           std::vector<std::string> notes, dist::Runtime& runtime) {
  config.train.ranks_per_node = runtime.topology.ranks_per_node;
  user_check(
      config.train.reduction != "fast" || runtime.world.size() == 1 ||
          runtime.gpu_way.starts_with("NCCL"),
      concat("--reduction fast is NCCL's: every rank needs a GPU of its own, and the program "
             "NCCL; exchange here: ",
             runtime.gpu_way.empty() ? "on the CPU" : runtime.gpu_way));
  std::unique_ptr<RunFolder> folder;  // made and locked by rank 0; all ranks learn its name
  if (runtime.world.rank() == 0 && !config.train.dry_run)
    folder = std::make_unique<RunFolder>(config.train.save_dir, "train_hmoe",
                                         !config.train.resume.empty(), config.train.overwrite);
  if (folder) config.train.save_dir = folder->path;
  config.train.save_dir = runtime.world.all_gather_bytes(config.train.save_dir)[0];
  dist::Mesh mesh = make_hmoe_mesh(config, runtime.world);
  mesh.fast_sums = config.train.reduction == "fast";
  const auto model = make_hmoe_model(config, source->vocabulary_size(), mesh, runtime.device);
  TranslationTask task(source, config.data, *model, criterion_options(config), runtime.world,
                       uint64_t(config.train.seed));
  initialize(*model, uint64_t(config.train.seed));
  for (const auto& [why, sentences] : task.skipped())
    notes.push_back(concat(sentences, " training sentences are left out: ", why));
  print_banner(config, *source, *model, mesh, runtime, notes);
  if (config.train.dry_run) {
    task.describe_first_batch();
    return;
  }

  const std::string toml = to_toml(option_list(config));
  if (folder) write_durably(folder->path + "/config.toml", toml);
  const auto summary = [&](const Statistics& layers) {
    nlohmann::json s = cost_summary(config, source->vocabulary_size(), layers);
    for (const Direction& d : source->directions()) s["directions"].push_back(d.name());
    return s;
  };
  Trainer{config.train, config.optim, task, runtime, mesh, toml, summary}.fit(start);
}

}  // namespace

int main(int argc, char** argv) {
  HmoeAppConfig config;
  FoundCheckpoint start;
  Source source;
  std::vector<std::string> notes;
  return dist::run_main(
      argc, argv,
      [&](std::vector<std::string> args, int processes) -> dist::RunPlan {
        // Nothing said about model or data: the small preset, so that it simply works.
        const auto names = [](const std::string& a) {
          return a.starts_with("--data") || a.starts_with("--preset") ||
                 a.starts_with("--config") || a.starts_with("--resume");
        };
        if (std::none_of(args.begin(), args.end(), names))
          args.insert(args.begin(), {"--preset", "tiny"});
        const auto parse = [&] {
          return parse_flags(option_list(config), args, "train_hmoe",
                             "Train a transformer with stratified experts (HMoE) for translation.",
                             hmoe_presets());
        };
        const ParseResult parsed = parse();
        if (parsed.exit_code) return {.exit_code = parsed.exit_code, .text = parsed.text};
        start = find_start(config.train);
        if (!config.train.resume.empty() && !start.folder.empty()) {
          // on top of the checkpoint's options: those given now must be equal, or ones that may change
          const std::string save_dir = config.train.save_dir;
          HmoeAppConfig stored;
          from_toml(option_list(stored), open_checkpoint(start.folder, false).read_bytes("/config"),
                    start.folder);
          config = stored;
          parse();
          config.train.save_dir = save_dir;
          check_unchanged(option_list(stored), option_list(config), start.folder);
        }
        if (config.train.ranks == 0) config.train.ranks = processes;
        validate(config, config.train.ranks);
        source = open_source(config.data, uint64_t(config.train.seed));
        notes = parsed.notes;
        notes.insert(notes.end(), start.warnings.begin(), start.warnings.end());
        return {config.train.ranks, config.train.ranks_per_node, {}, "", config.train.device};
      },
      [&](dist::Runtime& runtime) { train(config, source, start.folder, notes, runtime); });
}
