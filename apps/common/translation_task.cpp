#include "apps/common/translation_task.h"

#include <chrono>
#include <iostream>

namespace switchyard {

LossParts translation_loss(Transformer& model, const TranslationBatch& batch,
                           const CriterionOptions& options, ForwardContext& ctx) {
  const Var encoded = model.encode(batch.source, ctx);                 // [B*Ts, M]
  const Var logits = model.decode(batch.decoder_input, encoded, ctx);  // [B*Tt, V]
  return criterion(logits, batch.target, kPad, options.label_smoothing, ctx.losses,
                   options.average_gate_losses);
}

ValidResult evaluate_loss(Transformer& model, const EvalBatches& batches,
                          const CriterionOptions& options, const dist::Comm& world) {
  NoGrad no_grad;
  ValidResult r;
  std::vector<double> sums(3);
  for (int64_t i = 0; i < batches.size(); ++i) {
    ForwardContext ctx;
    ctx.rank = world.rank();
    ctx.micro_batch = i;
    const LossParts parts = translation_loss(model, batches[i], options, ctx);
    sums[0] += parts.loss.data().numel() ? parts.loss.data().to(DType::F64).data<double>()[0] : 0;
    sums[1] += parts.nll, sums[2] += double(parts.tokens);
    for (const auto& [name, values] : ctx.statistics) {
      std::vector<double>& total = r.statistics[name];
      if (total.size() < values.size()) total.resize(values.size());
      for (size_t k = 0; k < values.size(); ++k) total[k] += values[k];
    }
  }
  Tensor t = Tensor::of(sums);
  world.all_reduce(t);
  r.loss_sum = t.data<double>()[0], r.nll_sum = t.data<double>()[1];
  r.targets = int64_t(t.data<double>()[2]);
  return r;
}

TranslationTask::TranslationTask(std::shared_ptr<const TranslationSource> source,
                                 const DataConfig& data, Transformer& model,
                                 CriterionOptions options, dist::Runtime& runtime, uint64_t seed)
    : source_(std::move(source)),
      data_(data),
      model_(model),
      options_(options),
      runtime_(runtime),
      seed_(seed),
      valid_(source_, data, Split::Valid, -1, data.max_tokens, 0, runtime.world.rank(),
             runtime.world.size()) {
  set_position({});
}

void TranslationTask::set_position(DataPosition position) {
  iterator_ = std::make_unique<TrainIterator>(source_, data_, seed_, runtime_.world.rank(),
                                              runtime_.world.size(), position);
}

MicroBatch TranslationTask::next(ForwardContext& ctx) {
  const auto started = std::chrono::steady_clock::now();
  const TranslationBatch batch = iterator_->next();
  MicroBatch m;
  m.data_seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  const LossParts parts = translation_loss(model_, batch, options_, ctx);
  m.loss = parts.loss;
  m.loss_sum = parts.loss.data().to(DType::F64).data<double>()[0];
  m.nll_sum = parts.nll;
  for (const std::string& name : options_.auxiliary) {
    const auto found = parts.auxiliary.find(name);  // a dense model has none
    m.auxiliary.push_back(found == parts.auxiliary.end() ? 0.0 : found->second);
  }
  m.targets = parts.tokens, m.sources = batch.source_tokens, m.sentences = batch.sentences;
  return m;
}

void TranslationTask::describe_first_batch() {
  const TranslationBatch b = iterator_->next();
  if (runtime_.world.rank() == 0)
    std::cout << "first batch " << b.sentences << " sentences: source " << b.sentences << " x "
              << b.source_time << " (" << b.source_tokens << " tokens), target " << b.sentences
              << " x " << b.target_time << " (" << b.target_tokens << " tokens)\n";
}

ValidResult TranslationTask::validate() {
  return evaluate_loss(model_, valid_, options_, runtime_.world);
}

nlohmann::json TranslationTask::data_state() const {
  const DataPosition p = iterator_->position();
  return {{"epoch", p.epoch}, {"batch", p.batch}, {"checksum", source_->checksum()}};
}

void TranslationTask::set_data_state(const nlohmann::json& state) {
  user_check(
      state.at("checksum") == source_->checksum(),
      concat("the checkpoint was trained on other data than ", source_->origin(),
             ": resume needs the same; --restore-file starts a new run from the parameters"));
  set_position({state.at("epoch"), state.at("batch")});
}

}  // namespace switchyard
