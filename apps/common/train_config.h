// Options of every training app: how long, how often, where to, and what to start from.
#pragma once
#include <filesystem>

#include "apps/common/flags.h"
#include "nn/checkpoint.h"

namespace switchyard {

constexpr const char* kDeviceHelp =
    "where tensors live and kernels run; auto = a GPU where there is one";
constexpr const char* kPrecisionHelp =
    "fp32; or bf16: activations and matrix products in bf16, parameters, optimizer, sums in fp32";

struct TrainConfig {
  int ranks = 0, ranks_per_node = 0;
  int64_t seed = 1, max_update = 1000, update_freq = 1;
  std::string device = "auto", precision = "fp32", ddp_backend = "no_shard", reduction = "tree";

  std::string save_dir, resume, restore_file;
  bool overwrite = false, no_save = false, async_write = false;
  int64_t save_interval_updates = 500, keep_interval_updates = -1;

  int64_t validate_interval_updates = 500, log_interval = 100;
  std::string best_checkpoint_metric = "loss", log_format = "simple";
  bool dry_run = false;

  template <class V>
  void visit(V&& v) {
    v.group("Run");
    v(ranks, "ranks", "ranks R; 0 = one for each MPI process");
    v(ranks_per_node, "ranks-per-node", "ranks that share a node; 0 = from the machine");
    v(device, "device", kDeviceHelp, {"auto", "cpu", "cuda"});
    v(seed, "seed", "seed of initial values, data order and every random draw");
    v(max_update, "max-update", "stop after this many updates");
    v(update_freq, "update-freq", "micro-batches of a rank summed into one update");
    v(precision, "precision,dtype", kPrecisionHelp, {"fp32", "bf16"});
    v(ddp_backend, "ddp-backend", "how replicated parameters are kept", {"no_shard"});
    v(reduction, "reduction",
      "sums of gradients over ranks: tree = same bits at every process count; fast = NCCL's own",
      {"tree", "fast"});
    v(dry_run, "dry-run", "print layout, parameters, memory and the first batch, then stop");
    v.group("Checkpoints and logs");
    v(save_dir, "save-dir", "run folder; empty = runs/<app>-<date>-<time>");
    v(resume, "resume", "latest, best, or a checkpoint folder: go on as if never stopped");
    v(restore_file, "restore-file", "start a new run from the parameters of this checkpoint");
    v(overwrite, "overwrite", "replace the run that --save-dir holds");
    v(no_save, "no-save", "write no checkpoints");
    v(async_write, "write-checkpoints-asynchronously", "write while training goes on");
    v(save_interval_updates, "save-interval-updates",
      "updates between checkpoints; 0 = only the last");
    v(keep_interval_updates, "keep-interval-updates",
      "checkpoints to keep, besides best and last; -1 = all");
    v(validate_interval_updates, "validate-interval-updates",
      "updates between validations; 0 = only the last");
    v(best_checkpoint_metric, "best-checkpoint-metric",
      "lowest value on the validation set is best", {"loss", "nll_loss"});
    v(log_interval, "log-interval", "updates between log records");
    v(log_format, "log-format", "progress on standard error", {"simple", "none"});
    v.refused("fp16", "use --precision bf16");
    v.refused("memory-efficient-fp16", "use --precision bf16");
  }
};

// The verified checkpoint that --resume or --restore-file asks for; its folder is empty for a fresh start.
// Sets save_dir when --resume names a path.
inline FoundCheckpoint find_start(TrainConfig& config) {
  user_check(config.resume.empty() || config.restore_file.empty(),
             "--resume goes on with a run, --restore-file starts a new one: give only one of them");
  if (config.resume == "latest" || config.resume == "best") {
    user_check(!config.save_dir.empty(),
               concat("--resume ", config.resume, " needs --save-dir of the run"));
    return find_checkpoint(config.save_dir + "/checkpoints", config.resume);
  }
  const std::string path = config.resume + config.restore_file;
  if (path.empty()) return {};
  const FoundCheckpoint found = find_checkpoint("", path);
  if (config.restore_file.empty() && config.save_dir.empty())
    config.save_dir = std::filesystem::path(found.folder).parent_path().parent_path().string();
  return found;
}

// On resume the options of the checkpoint hold, except those that may change (how long, how often, where to).
// UserError names the first of `now` that differs.
inline void check_unchanged(const OptionList& stored, const OptionList& now,
                            const std::string& folder) {
  const std::vector<std::string> may_change = split_list(
      "max-update, save-dir, resume, restore-file, overwrite, no-save, save-interval-updates, "
      "write-checkpoints-asynchronously, keep-interval-updates, validate-interval-updates, "
      "log-interval, log-format, dry-run, checkpoint-activations, stop-min-lr, data, device, "
      "reduction");
  for (size_t i = 0; i < now.options.size(); ++i) {
    const Option &then = stored.options[i], &option = now.options[i];
    const std::string& name = option.names[0];
    if (!option.print || std::count(may_change.begin(), may_change.end(), name) > 0) continue;
    user_check(option.print() == then.print(),
               concat("--", name, " is ", option.print(), " but the checkpoint ", folder,
                      " was trained with ", then.print(),
                      ": leave it out, or start a new run with --restore-file"));
  }
}

}  // namespace switchyard
