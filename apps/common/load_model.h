// A trained HMoE from its checkpoint: configuration, tokenizer and parameters, at any number of ranks.
#pragma once
#include "apps/common/hmoe_app.h"

namespace switchyard {

struct StoredRun {
  std::string folder;    // step folder
  HmoeAppConfig config;  // as it was trained
  std::shared_ptr<const Tokenizer> tokenizer;
};
// path: a step folder, or a run (its best checkpoint, else its last). Verifies all files; UserError.
StoredRun open_stored_run(const std::string& path);

// This rank's share of the model, with the stored parameters. Collective.
std::unique_ptr<Transformer> load_model(const StoredRun& run, const dist::Comm& world);

}  // namespace switchyard
