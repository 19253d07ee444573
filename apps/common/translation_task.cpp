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
  ForwardContext ctx;  // one for all batches: statistics add up in it
  ctx.rank = world.rank();
  Tensor sums = Tensor::zeros({3}, DType::F64);
  double* s = sums.data<double>();
  for (int64_t i = 0; i < batches.size(); ++i) {
    ctx.micro_batch = i;
    ctx.losses.clear();
    const LossParts parts = translation_loss(model, batches[i], options, ctx);
    s[0] += value_of(parts.loss.data());
    s[1] += parts.nll;
    s[2] += double(parts.tokens);
  }
  world.all_reduce(sums);
  return {s[0], s[1], int64_t(s[2]), std::move(ctx.statistics)};
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
  m.sums = {{"loss", value_of(parts.loss.data())},
            {"nll_loss", parts.nll},
            {"tokens", parts.tokens},
            {"sentences", batch.sentences}};
  for (const std::string& name : options_.auxiliary)  // a dense model has none
    m.sums[name + "_loss"] = parts.auxiliary.contains(name) ? parts.auxiliary.at(name) : 0;
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
