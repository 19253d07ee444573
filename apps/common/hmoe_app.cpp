#include "apps/common/hmoe_app.h"

#include <cmath>

#include "data/corpus.h"
#include "data/synthetic.h"

namespace switchyard {

Presets hmoe_presets() {
  const std::map<std::string, std::string> runs = {// the original's run scripts
                                                   {"dropout", "0.3"},
                                                   {"attention-dropout", "0.1"},
                                                   {"adam-betas", "(0.9, 0.98)"},
                                                   {"adam-eps", "1e-6"},
                                                   {"lr", "8e-4"},
                                                   {"warmup-updates", "8000"},
                                                   {"warmup-init-lr", "1e-7"},
                                                   {"max-update", "100000"},
                                                   {"moe-freq", "2"},
                                                   {"moe-gate-loss-wt", "0.01"},
                                                   {"max-tokens", "4096"},
                                                   {"sampling-method", "temperature"},
                                                   {"sampling-temperature", "1"},
                                                   {"encoder-langtok", "tgt"},
                                                   {"decoder-langtok", "1"},
                                                   {"seed", "42"},
                                                   {"max-source-positions", "512"},
                                                   {"max-target-positions", "512"},
                                                   {"stop-min-lr", "1e-9"}};
  auto with = [&runs](std::map<std::string, std::string> more) {
    more.insert(runs.begin(), runs.end());
    return more;
  };
  auto size = [](const char* layers, const char* width, const char* ffn, const char* heads) {
    std::map<std::string, std::string> m;
    for (const std::string side : {"encoder-", "decoder-"}) {
      m[side + "layers"] = layers, m[side + "embed-dim"] = width;
      m[side + "ffn-embed-dim"] = ffn, m[side + "attention-heads"] = heads;
    }
    return m;
  };
  auto tiny = size("2", "32", "64", "2");
  tiny.merge(std::map<std::string, std::string>{{"moe-expert-count", "8"},
                                                {"hmoe-layer", "2"},
                                                {"max-tokens", "256"},
                                                {"dropout", "0.1"},
                                                {"lr", "5e-3"},
                                                {"warmup-updates", "50"},
                                                {"max-update", "300"},
                                                {"validate-interval-updates", "100"},
                                                {"save-interval-updates", "100"},
                                                {"log-interval", "20"}});
  auto demo = size("4", "128", "256", "4");
  demo.merge(std::map<std::string, std::string>{
      {"moe-expert-count", "8"},
      {"hmoe-layer", "4"},
      {"max-tokens", "1024"},
      {"moe-eval-capacity-token-fraction", "1"},  // as in generation: validation without drops
      {"dropout", "0.1"},
      {"lr", "3e-3"},
      {"warmup-updates", "200"},
      {"max-update", "900"},
      {"validate-interval-updates", "100"},
      {"save-interval-updates", "300"},
      {"log-interval", "20"},
      {"keep-interval-updates", "2"}});
  auto m4 = size("6", "512", "2048", "8");
  m4.merge(std::map<std::string, std::string>{{"moe-expert-count", "8"}, {"hmoe-layer", "4"}});
  auto m15 = size("6", "1024", "4096", "16");
  m15.merge(std::map<std::string, std::string>{
      {"moe-expert-count", "16"}, {"hmoe-layer", "2"}, {"hmoe-dynamic", "4,12"}});
  return {{"tiny", with(tiny)}, {"demo", with(demo)}, {"m4", with(m4)}, {"m15", with(m15)}};
}

void validate(const HmoeAppConfig& c, int ranks) {
  c.model.validate();
  c.optim.validate();
  moe::validate(c.hmoe, ranks);
  switchyard::validate(c.data);
  auto at_least = [](int64_t value, int64_t least, const char* name) {
    user_check(value >= least, concat("--", name, " is ", value, ", must be at least ", least));
  };
  at_least(c.train.max_update, 0, "max-update");
  at_least(c.train.update_freq, 1, "update-freq");
  at_least(c.train.save_interval_updates, 0, "save-interval-updates");
  at_least(c.train.validate_interval_updates, 0, "validate-interval-updates");
  at_least(c.train.log_interval, 1, "log-interval");
  at_least(c.train.keep_interval_updates, -1, "keep-interval-updates");
  user_check(c.label_smoothing >= 0 && c.label_smoothing < 1,
             concat("--label-smoothing is ", c.label_smoothing, ", must be in [0, 1)"));
}

std::shared_ptr<const TranslationSource> open_source(const DataConfig& config, uint64_t seed) {
  return config.data.empty() ? make_synthetic(seed) : read_corpus(config.data);
}

CriterionOptions criterion_options(const HmoeAppConfig& config) {
  return {config.label_smoothing, config.hmoe.moe_gate_loss_combine_method == "average",
          config.hmoe.cmr() ? std::vector<std::string>{"gate", "cmr"}
                            : std::vector<std::string>{"gate"}};
}

dist::Mesh make_hmoe_mesh(const HmoeAppConfig& config, const dist::Comm& world) {
  const bool dense = config.hmoe.moe_type == "dense";
  dist::Mesh mesh = dist::make_mesh(world, dense ? world.size() : config.hmoe.moe_expert_count);
  if (config.hmoe.moe_normalize_expert_grad == "sqrt_world_size")
    mesh.expert_grad_scale = std::sqrt(double(mesh.layout.group_size()));
  return mesh;
}

std::unique_ptr<Transformer> make_hmoe_model(const HmoeAppConfig& config, int64_t vocabulary,
                                             const dist::Mesh& mesh) {
  const ModelConfig& m = config.model;
  return std::make_unique<Transformer>(
      m, vocabulary, [&](const LayerPlace& place) -> std::unique_ptr<SubBlock> {
        if (!config.hmoe.has_experts(place.decoder, place.layer)) return make_dense_ffn(m, place);
        const int64_t positions =
            place.decoder ? config.data.max_target_positions : config.data.max_source_positions;
        return std::make_unique<moe::HmoeBlock>(config.hmoe, m.feed_forward(place.decoder),
                                                m.dropout, positions, mesh);
      });
}

}  // namespace switchyard
