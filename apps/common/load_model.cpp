#include "apps/common/load_model.h"

#include "nn/checkpoint.h"

namespace switchyard {

StoredRun open_stored_run(const std::string& path) {
  user_check(!path.empty(), "--path must name a checkpoint: a run folder or a step folder");
  StoredRun run{.folder = find_checkpoint("", path).folder, .config = {}, .tokenizer = {}};
  const Hdf5File model = open_checkpoint(run.folder, false);
  OptionList options = option_list(run.config);
  from_toml(options, model.read_bytes("/config"), run.folder + "/model.h5");
  run.tokenizer = std::make_shared<const Tokenizer>(model.read_bytes("/tokenizer"),
                                                    model.read_strings("/vocabulary"));
  return run;
}

std::unique_ptr<Transformer> load_model(const StoredRun& run, const dist::Comm& world) {
  auto model = make_hmoe_model(run.config, int64_t(run.tokenizer->vocabulary().size()),
                               make_hmoe_mesh(run.config, world));
  load_checkpoint(run.folder, checkpoint_entries(parameters(*model)));
  return model;
}

}  // namespace switchyard
