// Train a transformer with stratified mixture-of-experts layers (HMoE) for translation.
// Source: specs of HMoE, sections 2-4. Without --data it trains a built-in synthetic task.
#include <algorithm>

#include "apps/common/banner.h"
#include "apps/common/hmoe_app.h"
#include "apps/common/resume.h"
#include "apps/common/run_folder.h"
#include "apps/common/trainer.h"
#include "apps/common/translation_task.h"

using namespace switchyard;

namespace {

using Source = std::shared_ptr<const TranslationSource>;

// Rank 0 makes and locks the folder; all ranks learn its name.
std::string open_run_folder(const TrainConfig& config, const dist::Runtime& runtime,
                            std::unique_ptr<RunFolder>& folder) {
  if (runtime.world.rank() == 0)
    folder = std::make_unique<RunFolder>(config.save_dir, "train_hmoe", !config.resume.empty(),
                                         config.overwrite);
  return runtime.world.all_gather_bytes(folder ? folder->path() : "")[0];
}

void train(HmoeAppConfig config, const Source& source, const ResumePoint& from,
           const std::vector<std::string>& notes, dist::Runtime& runtime) {
  config.train.ranks_per_node = runtime.topology.ranks_per_node;
  std::unique_ptr<RunFolder> folder;  // rank 0
  if (!config.train.dry_run) config.train.save_dir = open_run_folder(config.train, runtime, folder);
  const dist::Mesh mesh = make_hmoe_mesh(config, runtime.world);
  const auto model = make_hmoe_model(config, source->vocabulary_size(), mesh);
  TranslationTask task(source, config.data, *model, criterion_options(config), runtime,
                       uint64_t(config.train.seed));
  initialize(*model, uint64_t(config.train.seed));
  print_banner(config, *source, *model, mesh, runtime, notes);
  if (config.train.dry_run) {
    task.describe_first_batch();
    return;
  }

  const std::string toml = to_toml(option_list(config));
  if (folder) folder->write_config(toml);
  TrainState state(config.train, config.optim, toml, from, runtime);
  state.load(task);
  TrainLog log(runtime, config.train.save_dir, from.resume ? state.update : -1,
               task.auxiliary_names(), config.train.log_format == "simple");
  Trainer(config.train, config.optim, task, runtime, mesh, state, log).fit();
}

}  // namespace

int main(int argc, char** argv) {
  HmoeAppConfig config;
  ResumePoint from;
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
        OptionList options = option_list(config);
        const ParseResult parsed =
            parse_flags(options, args, "train_hmoe",
                        "Train a stratified mixture-of-experts transformer (HMoE) for translation.",
                        hmoe_presets());
        if (parsed.exit_code) return {.exit_code = parsed.exit_code, .text = parsed.text};
        notes = parsed.notes;
        from = find_resume_point(config.train);
        if (from.resume) {
          HmoeAppConfig stored;
          OptionList stored_options = option_list(stored);
          adopt_config(options, from, stored_options);
        }
        if (config.train.ranks == 0) config.train.ranks = processes;
        validate(config, config.train.ranks);
        source = open_source(config.data, uint64_t(config.train.seed));
        return {.ranks = config.train.ranks,
                .ranks_per_node = config.train.ranks_per_node,
                .exit_code = {}};
      },
      [&](dist::Runtime& runtime) { train(config, source, from, notes, runtime); });
}
