// Translation as a training task: batches of a corpus through a transformer, label-smoothed cross-entropy
// plus gate losses (specs/hmoe 2.10), validation on the same criterion.
#pragma once
#include <chrono>
#include <iostream>

#include "apps/common/train_task.h"
#include "data/sampler.h"
#include "nn/loss.h"
#include "nn/transformer.h"

namespace switchyard {

struct CriterionOptions {
  double label_smoothing = 0.1;
  bool average_gate_losses = true;  // over blocks; false: sum
};

// Forward pass and loss of one batch.
inline MicroBatch translation_loss(Transformer& model, const TranslationBatch& batch,
                                   const CriterionOptions& options, ForwardContext& ctx) {
  ctx.group = batch.direction;
  const Var encoded = model.encode(batch.source, ctx);                 // [B*Ts, M]
  const Var logits = model.decode(batch.decoder_input, encoded, ctx);  // [B*Tt, V]
  const LossParts parts = criterion(logits, batch.target, kPad, options.label_smoothing, ctx.losses,
                                    options.average_gate_losses);
  MicroBatch m;
  m.loss = parts.loss;
  m.sums = {{"tokens", parts.tokens},
            {"sentences", batch.sentences},
            {"gate_loss", 0}};  // logged for a dense model, too
  m.losses = {{"loss", parts.loss.data()}, {"nll_loss", parts.nll}};
  for (const auto& [name, sum] : parts.auxiliary) m.losses.push_back({name + "_loss", sum});
  return m;
}

// Loss over batches dealt to ranks; every rank passes the same number of them. Collective.
inline ValidResult evaluate_loss(Transformer& model, const EvalBatches& batches,
                                 const CriterionOptions& options, const dist::Comm& world) {
  NoGrad no_grad;
  ForwardContext ctx;  // one for all batches: statistics add up in it
  ctx.rank = world.rank();
  Sums sums = {{"loss", 0}, {"nll_loss", 0}, {"tokens", 0}};  // also when there is no batch
  Measurements measured;
  for (; ctx.micro_batch < batches.size(); ++ctx.micro_batch) {
    ctx.losses.clear();
    const TranslationBatch batch = batches[ctx.micro_batch];
    const MicroBatch micro = translation_loss(model, batch, options, ctx);
    for (const auto& [name, sum] : micro.sums) sums[name] += sum;
    measured.add(micro, ctx);
  }
  measured.read(sums, ctx.statistics);
  sum_over_ranks(world, sums);
  return {std::move(sums), std::move(ctx.statistics)};
}

class TranslationTask : public TrainTask {
 public:
  TranslationTask(std::shared_ptr<const TranslationSource> source, const DataConfig& data,
                  Transformer& model, CriterionOptions options, const dist::Comm& world,
                  uint64_t seed)
      : source_(std::move(source)),
        data_(data),
        model_(model),
        options_(std::move(options)),
        world_(world),
        seed_(seed),
        valid_(source_, data, Split::Valid, -1, data.max_tokens, 0, world.rank(), world.size()) {
    set_position({});
  }

  Module& model() override { return model_; }

  MicroBatch next(ForwardContext& ctx) override {
    const auto started = std::chrono::steady_clock::now();
    const TranslationBatch batch = iterator_->next();
    const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - started;
    MicroBatch m = translation_loss(model_, batch, options_, ctx);
    m.data_seconds = waited.count();
    return m;
  }

  ValidResult validate() override { return evaluate_loss(model_, valid_, options_, world_); }
  bool evolve(int64_t update) override { return model_.evolve(update); }
  int64_t epoch() const override { return iterator_->position().epoch + 1; }

  void save(Snapshot& s) const override {
    const DataPosition p = iterator_->position();
    const nlohmann::json data = {
        {"epoch", p.epoch}, {"batch", p.batch}, {"checksum", source_->checksum()}};
    s.state["data"] = data.dump();
    s.tokenizer = source_->tokenizer().model();
    s.vocabulary = source_->tokenizer().vocabulary();
  }

  void load(const Attributes& state) override {
    const auto data = nlohmann::json::parse(std::get<std::string>(state.at("data")));
    user_check(
        data.at("checksum") == source_->checksum(),
        concat("the checkpoint was trained on other data than ", source_->origin(),
               ": resume needs the same; --restore-file starts a new run from the parameters"));
    set_position({data.at("epoch"), data.at("batch")});
  }

  const Counts& skipped() const { return iterator_->skipped(); }  // training sentences left out

  void describe_first_batch() {  // of rank 0, on standard output
    const TranslationBatch b = iterator_->next();
    if (world_.rank() == 0)
      std::cout << "first batch " << b.sentences << " sentences: source " << b.sentences << " x "
                << b.source_time << " (" << b.source_tokens << " tokens), target " << b.sentences
                << " x " << b.target_time << " (" << b.target_tokens << " tokens)\n";
  }

 private:
  void set_position(DataPosition position) {
    iterator_ = std::make_unique<TrainIterator>(source_, data_, seed_, world_.rank(), world_.size(),
                                                position);
  }

  const std::shared_ptr<const TranslationSource> source_;
  const DataConfig& data_;
  Transformer& model_;
  const CriterionOptions options_;
  const dist::Comm world_;
  const uint64_t seed_;
  const EvalBatches valid_;
  std::unique_ptr<TrainIterator> iterator_;
};

}  // namespace switchyard
