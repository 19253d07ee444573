#include "apps/common/train_config.h"

#include <filesystem>

namespace switchyard {

FoundCheckpoint find_start(TrainConfig& config) {
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

void check_unchanged(const OptionList& stored, const OptionList& now, const std::string& folder) {
  const std::vector<std::string> may_change = split_list(
      "max-update, save-dir, resume, restore-file, overwrite, no-save, save-interval-updates, "
      "write-checkpoints-asynchronously, keep-interval-updates, validate-interval-updates, "
      "log-interval, log-format, dry-run, checkpoint-activations, stop-min-lr, data");
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
