// Train a transformer with stratified mixture-of-experts layers (HMoE) for translation.
// Source: specs of HMoE, sections 2-4. Without --data it trains a built-in synthetic task.
#include <algorithm>

#include "apps/common/hmoe_app.h"
#include "apps/common/run_folder.h"
#include "apps/common/trainer.h"
#include "apps/common/translation_task.h"
#include "nn/checkpoint_files.h"

using namespace switchyard;

namespace {

using Source = std::shared_ptr<const TranslationSource>;

// start: the checkpoint to begin with; empty = none
void train(HmoeAppConfig config, const Source& source, const std::string& start,
           std::vector<std::string> notes, dist::Runtime& runtime) {
  config.train.ranks_per_node = runtime.topology.ranks_per_node;
  std::unique_ptr<RunFolder> folder;  // made and locked by rank 0; all ranks learn its name
  if (runtime.world.rank() == 0 && !config.train.dry_run)
    folder = std::make_unique<RunFolder>(config.train.save_dir, "train_hmoe",
                                         !config.train.resume.empty(), config.train.overwrite);
  if (folder) config.train.save_dir = folder->path;
  config.train.save_dir = runtime.world.all_gather_bytes(config.train.save_dir)[0];
  const dist::Mesh mesh = make_hmoe_mesh(config, runtime.world);
  const auto model = make_hmoe_model(config, source->vocabulary_size(), mesh);
  TranslationTask task(source, config.data, *model, criterion_options(config), runtime,
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
  Trainer{config.train, config.optim, task, runtime, mesh, toml}.fit(start);
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
          return parse_flags(
              option_list(config), args, "train_hmoe",
              "Train a stratified mixture-of-experts transformer (HMoE) for translation.",
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
        return {.ranks = config.train.ranks,
                .ranks_per_node = config.train.ranks_per_node,
                .exit_code = {}};
      },
      [&](dist::Runtime& runtime) { train(config, source, start.folder, notes, runtime); });
}
