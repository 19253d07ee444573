// Where a run starts: afresh, from where an earlier one stopped (--resume), or from another run's
// parameters (--restore-file).
#pragma once
#include "apps/common/flags.h"
#include "apps/common/train_config.h"

namespace switchyard {

struct ResumePoint {
  bool resume = false;             // go on exactly as if never stopped
  std::string folder;              // step folder to read; empty = none
  std::string config;              // its options
  std::vector<std::string> notes;  // damaged checkpoints that were passed over
};

// Finds and verifies the checkpoint that the options ask for; sets save_dir when --resume names a path.
ResumePoint find_resume_point(TrainConfig& config);

// On resume the checkpoint's options hold; those given now must be equal, except the ones that may change
// (how long, how often, where to). UserError names the first that differs.
void adopt_config(OptionList& options, const ResumePoint& from, OptionList& stored);

}  // namespace switchyard
