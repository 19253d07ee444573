// Training in process, on thread ranks: a small run on the synthetic task, its losses and first gradients.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "apps/common/hmoe_app.h"
#include "apps/common/trainer.h"
#include "dist/runtime.h"

namespace switchyard {

// A tiny model on the synthetic task; 12 micro-batches an update however many ranks share them.
inline HmoeAppConfig small_config(int experts, int ranks) {
  HmoeAppConfig c;
  parse_flags(option_list(c), {"--preset", "tiny"}, "test", "", hmoe_presets());
  c.train.update_freq = 12 / ranks, c.train.ranks = ranks;
  c.hmoe.moe_expert_count = experts;
  c.hmoe.moe_capacity_factor = experts;  // no drops
  c.hmoe.gate.policy = "all";
  c.hmoe.moe_gate_loss_wt = 0;
  c.model.dropout = c.model.attention_dropout = 0;
  c.data.max_tokens = 64;
  c.train.log_interval = 1, c.train.validate_interval_updates = 0,
  c.train.save_interval_updates = 1;
  c.train.log_format = "none", c.train.device = "cpu";
  return c;
}

struct TrainResult {
  std::vector<double> losses;  // of each update, bits
  std::map<std::string, Tensor>
      gradients;  // of the first update, by path (Adam's first moment times 10)
};

// f(trainer) with all that a rank needs to train
inline void with_trainer(const HmoeAppConfig& c, dist::Runtime& runtime,
                         const std::function<void(Trainer&)>& f) {
  const auto source = open_source(c.data, 1);
  const dist::Mesh mesh = make_hmoe_mesh(c, runtime.world);
  const auto model = make_hmoe_model(c, source->vocabulary_size(), mesh, runtime.device);
  initialize(*model, 1);
  TranslationTask task(source, c.data, *model, criterion_options(c), runtime.world, 1);
  Trainer trainer{c.train, c.optim, task, runtime, mesh, ""};
  f(trainer);
}

inline TrainResult train(HmoeAppConfig c, int64_t updates) {
  c.train.save_dir =
      (std::filesystem::temp_directory_path() /
       ("switchyard_ranks_" + std::to_string(c.train.ranks) + "_" + std::to_string(getpid())))
          .string();
  std::filesystem::create_directories(c.train.save_dir);
  c.train.max_update = updates;
  dist::run_ranks(
      c.train.ranks,
      [&](dist::Runtime& runtime) {
        with_trainer(c, runtime, [](Trainer& trainer) { trainer.fit(""); });
      },
      0, c.train.device);
  TrainResult r;
  std::ifstream lines(c.train.save_dir + "/log.jsonl");
  for (std::string line; std::getline(lines, line);) {
    const auto record = nlohmann::json::parse(line);
    if (record["kind"] == "train") r.losses.push_back(record["loss"]);
  }
  const auto first = Hdf5File::open(c.train.save_dir + "/checkpoints/step_00000001/model.h5");
  for (const std::string& path : first.datasets("/optimizer/m"))
    r.gradients[path] = first.read(path);
  std::filesystem::remove_all(c.train.save_dir);
  return r;
}

inline void expect_close(const TrainResult& a, const TrainResult& b, int ranks) {
  ASSERT_EQ(a.losses.size(), b.losses.size());
  for (size_t i = 0; i < a.losses.size(); ++i)
    EXPECT_NEAR(a.losses[i], b.losses[i], 1e-4)
        << "update " << i + 1 << " on " << ranks << " ranks";
  ASSERT_EQ(a.gradients.size(), b.gradients.size());
  for (const auto& [path, g] : a.gradients) {
    const float *x = g.data<float>(), *y = b.gradients.at(path).data<float>();
    double largest = 0, worst = 0;
    for (int64_t i = 0; i < g.numel(); ++i) {
      largest = std::max(largest, std::fabs(double(x[i])));
      worst = std::max(worst, std::fabs(double(x[i]) - y[i]));
    }
    // a key's bias shifts all scores of a softmax alike: its true gradient is 0 and what is left is rounding
    if (path.ends_with("/k/bias")) continue;
    EXPECT_LE(worst, 1e-5 * largest) << path << " on " << ranks << " ranks";
  }
}

}  // namespace switchyard
