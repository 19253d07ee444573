// What train_hmoe, eval_hmoe and translate share: the full configuration, the presets, and how a model and
// its data are made from them. A checkpoint holds the configuration, so eval and translate rebuild it.
#pragma once
#include "apps/common/train_config.h"
#include "apps/common/translation_task.h"
#include "moe/methods/hmoe.h"
#include "nn/generate.h"

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

inline Presets hmoe_presets() {
  const std::string scripts =  // the original's run scripts
      "--dropout 0.3 --attention-dropout 0.1 --adam-betas (0.9,0.98) --adam-eps 1e-6 --lr 8e-4 "
      "--warmup-updates 8000 --warmup-init-lr 1e-7 --max-update 100000 --stop-min-lr 1e-9 "
      "--moe-freq 2 --moe-gate-loss-wt 0.01 --max-tokens 4096 --sampling-method temperature "
      "--sampling-temperature 1 --encoder-langtok tgt --decoder-langtok 1 --seed 42 "
      "--max-source-positions 512 --max-target-positions 512";
  const auto size = [&](int layers, int width, int ffn, int heads) {
    std::string words = scripts;
    for (const std::string side : {" --encoder-", " --decoder-"})
      words += concat(side, "layers ", layers, side, "embed-dim ", width, side, "ffn-embed-dim ",
                      ffn, side, "attention-heads ", heads);
    return words;
  };
  return {
      {"tiny", size(2, 32, 64, 2) +
                   " --moe-expert-count 8 --hmoe-layer 2 --max-tokens 256 --dropout 0.1 --lr 5e-3 "
                   "--warmup-updates 50 --max-update 300 --validate-interval-updates 100 "
                   "--save-interval-updates 100 --log-interval 20"},
      // capacity 1, as in generation: validation without drops
      {"demo", size(4, 128, 256, 4) +
                   " --moe-expert-count 8 --hmoe-layer 4 --max-tokens 1024 --dropout 0.1 --lr 3e-3 "
                   "--moe-eval-capacity-token-fraction 1 --warmup-updates 200 --max-update 900 "
                   "--validate-interval-updates 100 --save-interval-updates 300 --log-interval 20 "
                   "--keep-interval-updates 2"},
      {"m4", size(6, 512, 2048, 8) + " --moe-expert-count 8 --hmoe-layer 4"},
      {"m15",
       size(6, 1024, 4096, 16) + " --moe-expert-count 16 --hmoe-layer 2 --hmoe-dynamic 4,12"}};
}

// Every user mistake that needs no data: before the first step, on all ranks.
inline void validate(const HmoeAppConfig& c, int ranks) {
  c.model.validate();
  c.optim.validate();
  moe::validate(c.hmoe, ranks);
  switchyard::validate(c.data);
  const auto at_least = [](int64_t least, int64_t value, const char* name) {
    user_check(value >= least, concat("--", name, " is ", value, ", must be at least ", least));
  };
  at_least(0, c.train.max_update, "max-update");
  at_least(1, c.train.update_freq, "update-freq");
  at_least(0, c.train.save_interval_updates, "save-interval-updates");
  at_least(0, c.train.validate_interval_updates, "validate-interval-updates");
  at_least(1, c.train.log_interval, "log-interval");
  at_least(-1, c.train.keep_interval_updates, "keep-interval-updates");
  user_check(c.label_smoothing >= 0 && c.label_smoothing < 1,
             concat("--label-smoothing is ", c.label_smoothing, ", must be in [0, 1)"));
}

// The data of a run: the corpus of --data, or the built-in synthetic task.
inline std::shared_ptr<const TranslationSource> open_source(const DataConfig& config,
                                                            uint64_t seed) {
  return config.data.empty() ? make_synthetic(seed) : read_corpus(config.data);
}

inline CriterionOptions criterion_options(const HmoeAppConfig& config) {
  return {config.label_smoothing, config.hmoe.moe_gate_loss_combine_method == "average"};
}

inline dist::Mesh make_hmoe_mesh(const HmoeAppConfig& config, const dist::Comm& world) {
  const bool dense = config.hmoe.moe_type == "dense";
  dist::Mesh mesh = dist::make_mesh(world, dense ? world.size() : config.hmoe.moe_expert_count);
  if (config.hmoe.moe_normalize_expert_grad == "sqrt_world_size")
    mesh.expert_grad_scale = std::sqrt(double(mesh.layout.group_size()));
  return mesh;
}

inline std::unique_ptr<Transformer> make_hmoe_model(const HmoeAppConfig& config, int64_t vocabulary,
                                                    const dist::Mesh& mesh,
                                                    Device device = Device::CPU) {
  const ModelConfig& m = config.model;
  auto model = std::make_unique<Transformer>(
      m, vocabulary, [&](bool decoder, int layer) -> std::unique_ptr<SubBlock> {
        if (!config.hmoe.has_experts(decoder, layer)) return make_dense_ffn(m, decoder);
        const int64_t positions =
            decoder ? config.data.max_target_positions : config.data.max_source_positions;
        return std::make_unique<moe::HmoeBlock>(config.hmoe, m.feed_forward(decoder), m.dropout,
                                                positions, mesh);
      });
  move_to(*model, device);
  if (config.train.precision == "bf16") model->stream_type = DType::BF16;
  return model;
}

// A trained HMoE from its checkpoint, at any number of ranks.
struct StoredRun {
  std::string folder;    // step folder
  HmoeAppConfig config;  // as it was trained
  std::shared_ptr<const Tokenizer> tokenizer;
};

// path: a step folder, or a run (its best checkpoint, else its last). Verifies all files; UserError.
// For translation with `generate`, whose longest output it sets, and capacity for that share of the rows.
inline StoredRun open_stored_run(const std::string& path, double capacity_fraction,
                                 const std::string& precision, GenerateOptions& generate) {
  generate.validate();
  user_check(!path.empty(), "--path must name a checkpoint: a run folder or a step folder");
  StoredRun run{.folder = find_checkpoint("", path).folder, .config = {}, .tokenizer = {}};
  const Hdf5File model = open_checkpoint(run.folder, false);
  from_toml(option_list(run.config), model.read_bytes("/config"), run.folder + "/model.h5");
  run.config.hmoe.moe_eval_capacity_token_fraction = capacity_fraction;
  run.config.train.precision = precision;
  generate.max_positions = run.config.data.max_target_positions;
  run.tokenizer = std::make_shared<const Tokenizer>(model.read_bytes("/tokenizer"),
                                                    model.read_strings("/vocabulary"));
  return run;
}

// This rank's share of the model, with the stored parameters. Collective.
inline std::unique_ptr<Transformer> load_model(const StoredRun& run, const dist::Runtime& runtime) {
  auto model = make_hmoe_model(run.config, int64_t(run.tokenizer->vocabulary().size()),
                               make_hmoe_mesh(run.config, runtime.world), runtime.device);
  load_checkpoint(run.folder, checkpoint_entries(parameters(*model)));
  return model;
}

}  // namespace switchyard
