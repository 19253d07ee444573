#include "apps/common/resume.h"

#include <filesystem>
#include <set>

#include "nn/checkpoint.h"

namespace switchyard {

ResumePoint find_resume_point(TrainConfig& config) {
  ResumePoint from;
  user_check(config.resume.empty() || config.restore_file.empty(),
             "--resume goes on with a run, --restore-file starts a new one: give only one of them");
  FoundCheckpoint found;
  if (!config.restore_file.empty()) {
    found = find_checkpoint("", config.restore_file);
  } else if (config.resume == "latest" || config.resume == "best") {
    user_check(!config.save_dir.empty(),
               concat("--resume ", config.resume, " needs --save-dir of the run"));
    found = find_checkpoint(config.save_dir + "/checkpoints", config.resume);
  } else if (!config.resume.empty()) {
    found = find_checkpoint("", config.resume);
    const auto run = std::filesystem::path(found.folder).parent_path().parent_path();
    if (config.save_dir.empty()) config.save_dir = run.string();
  }
  from.folder = found.folder, from.notes = found.warnings;
  if (from.folder.empty()) return from;
  from.resume = !config.resume.empty();
  from.config = open_checkpoint(from.folder, false).read_bytes("/config");
  return from;
}

void adopt_config(OptionList& options, const ResumePoint& from, OptionList& stored) {
  static const std::set<std::string> may_change = {"max-update",
                                                   "save-dir",
                                                   "resume",
                                                   "overwrite",
                                                   "no-save",
                                                   "write-checkpoints-asynchronously",
                                                   "save-interval-updates",
                                                   "keep-interval-updates",
                                                   "validate-interval-updates",
                                                   "log-interval",
                                                   "log-format",
                                                   "dry-run",
                                                   "restore-file",
                                                   "checkpoint-activations",
                                                   "stop-min-lr",
                                                   "data"};
  from_toml(stored, from.config, from.folder + "/model.h5");
  for (size_t i = 0; i < options.options.size(); ++i) {
    Option& now = options.options[i];
    const Option& then = stored.options[i];
    if (!now.given) {
      if (now.name != "resume" && now.name != "overwrite" && now.name != "save-dir")
        now.parse(then.print());
    } else {
      user_check(may_change.count(now.name) || now.print() == then.print(),
                 concat("--", now.name, " is ", now.print(), " but the checkpoint ", from.folder,
                        " was trained with ", then.print(),
                        ": leave it out, or start a new run with --restore-file"));
    }
  }
}

}  // namespace switchyard
