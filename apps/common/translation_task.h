// Translation as a training task: batches of a corpus through a transformer, label-smoothed cross-entropy
// plus gate losses (specs/hmoe 2.10), validation on the same criterion.
#pragma once
#include <memory>

#include "apps/common/train_task.h"
#include "data/sampler.h"
#include "dist/runtime.h"
#include "nn/loss.h"
#include "nn/transformer.h"

namespace switchyard {

struct CriterionOptions {
  double label_smoothing = 0.1;
  bool average_gate_losses = true;  // over blocks; false: sum
  std::vector<std::string> auxiliary = {"gate"};  // names of the auxiliary losses, for the log
};

// Forward pass and loss of one batch.
LossParts translation_loss(Transformer& model, const TranslationBatch& batch,
                           const CriterionOptions& options, ForwardContext& ctx);

// Loss over batches dealt to ranks; every rank passes the same number of them. Collective.
ValidResult evaluate_loss(Transformer& model, const EvalBatches& batches,
                          const CriterionOptions& options, const dist::Comm& world);

class TranslationTask : public TrainTask {
 public:
  TranslationTask(std::shared_ptr<const TranslationSource> source, const DataConfig& data,
                  Transformer& model, CriterionOptions options, dist::Runtime& runtime,
                  uint64_t seed);
  Module& model() override { return model_; }
  MicroBatch next(ForwardContext& ctx) override;
  ValidResult validate() override;
  bool evolve(int64_t update) override { return model_.evolve(update); }
  nlohmann::json data_state() const override;
  void set_data_state(const nlohmann::json& state) override;
  const Counts& skipped() const { return iterator_->skipped(); }  // training sentences left out
  void describe_first_batch();  // of rank 0, on standard output
  int64_t epoch() const override { return iterator_->position().epoch + 1; }
  std::string tokenizer_model() const override { return source_->tokenizer().model(); }
  std::vector<std::string> vocabulary() const override { return source_->tokenizer().vocabulary(); }

 private:
  void set_position(DataPosition position);

  std::shared_ptr<const TranslationSource> source_;
  const DataConfig& data_;
  Transformer& model_;
  CriterionOptions options_;
  dist::Runtime& runtime_;
  uint64_t seed_;
  std::unique_ptr<TrainIterator> iterator_;
  EvalBatches valid_;
};

}  // namespace switchyard
