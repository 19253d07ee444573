// What train_hmoe, eval_hmoe and translate share: the full configuration, the presets, and how a model and
// its data are made from them. A checkpoint holds the configuration, so eval and translate rebuild it.
#pragma once
#include "apps/common/train_config.h"
#include "apps/common/translation_task.h"
#include "moe/methods/hmoe.h"

namespace switchyard {

struct HmoeAppConfig {
  TrainConfig train;
  DataConfig data;
  ModelConfig model;
  moe::HmoeConfig hmoe;
  OptimConfig optim;
  double label_smoothing = 0.1;

  template <class V>
  void visit(V&& v) {
    train.visit(v);
    data.visit(v);
    model.visit(v);
    hmoe.visit(v);
    optim.visit(v);
    v.group("Loss");
    v(label_smoothing, "label-smoothing", "share of the target spread over the vocabulary");
    v.accepted("arch", "there is one network, transformer_ed");
    v.accepted("task", "there is one task, translation_multi_simple_epoch");
    v.accepted("criterion", "there is one: label-smoothed cross-entropy with gate losses");
    v.accepted("distributed-world-size", "mpirun -np and --ranks say it");
    v.accepted("use-local-shard-size", "sampling ratios always come from the loaded corpus");
  }
};

Presets hmoe_presets();  // tiny, demo, m4, m15

// Every user mistake that needs no data: before the first step, on all ranks.
void validate(const HmoeAppConfig& config, int ranks);

// The data of a run: the corpus of --data, or the built-in synthetic task.
std::shared_ptr<const TranslationSource> open_source(const DataConfig& config, uint64_t seed);

CriterionOptions criterion_options(const HmoeAppConfig& config);
dist::Mesh make_hmoe_mesh(const HmoeAppConfig& config, const dist::Comm& world);

std::unique_ptr<Transformer> make_hmoe_model(const HmoeAppConfig& config, int64_t vocabulary,
                                             const dist::Mesh& mesh);

// A trained HMoE from its checkpoint, at any number of ranks.
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
