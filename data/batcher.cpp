#include "data/batcher.h"

#include <algorithm>

#include "tensor/check.h"

namespace switchyard {
namespace {

// One sentence pair with its tokens in front (-1: none).
struct Row {
  std::span<const int32_t> source, target;
  int64_t source_front = -1, target_front = -1;
};

HostBatch collate(const std::vector<Row>& rows) {
  HostBatch b;
  b.sentences = int64_t(rows.size());
  for (const Row& r : rows) {
    const int64_t s = int64_t(r.source.size()) + 1 + (r.source_front >= 0);
    const int64_t t = int64_t(r.target.size()) + 1 + (r.target_front >= 0);
    b.source_time = std::max(b.source_time, s), b.target_time = std::max(b.target_time, t);
    b.source_tokens += s, b.target_tokens += t;
  }
  b.source.assign(size_t(b.sentences * b.source_time), kPad);         // [B, Ts]
  b.target.assign(size_t(b.sentences * b.target_time), kPad);         // [B, Tt]
  b.decoder_input.assign(size_t(b.sentences * b.target_time), kPad);  // [B, Tt]
  for (size_t i = 0; i < rows.size(); ++i) {
    const Row& r = rows[i];
    auto out = b.source.begin() + (int64_t(i) + 1) * b.source_time;  // right end: left-padded
    *--out = kEos;
    out = std::copy_backward(r.source.begin(), r.source.end(), out);
    if (r.source_front >= 0) *--out = r.source_front;
    out = b.target.begin() + int64_t(i) * b.target_time;
    auto input = b.decoder_input.begin() + int64_t(i) * b.target_time;
    *input++ = kEos;
    if (r.target_front >= 0) *out++ = *input++ = r.target_front;
    out = std::copy(r.target.begin(), r.target.end(), out);
    std::copy(r.target.begin(), r.target.end(), input);
    *out = kEos;
  }
  return b;
}

// The language token in front of the source / the target; -1: none.
int64_t source_front(const Tokenizer& t, const DataConfig& c, const std::string& from,
                     const std::string& to) {
  if (c.encoder_langtok == "none") return -1;
  return t.language_token(c.encoder_langtok == "src" ? from : to);
}
int64_t target_front(const Tokenizer& t, const DataConfig& c, const std::string& to) {
  return c.decoder_langtok ? t.language_token(to) : -1;
}

}  // namespace

void validate(const DataConfig& c) {
  const auto positive = [](int64_t value, const char* option) {
    user_check(value > 0, concat("--", option, " ", value, ": expected a positive number"));
  };
  positive(c.max_tokens, "max-tokens");
  positive(c.required_batch_size_multiple, "required-batch-size-multiple");
  positive(c.max_source_positions, "max-source-positions");
  positive(c.max_target_positions, "max-target-positions");
  user_check(
      c.sampling_temperature > 0 && c.sampling_temperature <= 1e6,
      concat("--sampling-temperature ", c.sampling_temperature, ": expected a positive number"));
  for (const auto& [value, option, choices] :
       {std::tuple(&c.sampling_method, "sampling-method", "concat, temperature or uniform"),
        std::tuple(&c.encoder_langtok, "encoder-langtok", "tgt, src or none")}) {
    user_check(!value->empty() && std::string(choices).find(*value) != std::string::npos,
               concat("--", option, " ", *value, ": expected ", choices));
  }
}

std::vector<int32_t> selected_directions(const TranslationSource& source,
                                         const DataConfig& config) {
  const std::vector<std::string> langs = split_list(config.langs),
                                 pairs = split_list(config.lang_pairs);
  std::vector<std::string> names;
  for (const Direction& d : source.directions()) names.push_back(d.name());
  for (const std::string& lang : langs) {
    const auto& known = source.langs();
    user_check(std::find(known.begin(), known.end(), lang) != known.end(),
               concat("--langs ", lang, ": ", source.origin(), " has no such language; nearest is ",
                      nearest_name(lang, known)));
  }
  const auto chosen = [&](const std::string& lang) {
    return langs.empty() || std::find(langs.begin(), langs.end(), lang) != langs.end();
  };
  std::vector<int32_t> directions;
  for (const std::string& pair : pairs) {
    const auto found = std::find(names.begin(), names.end(), pair);
    user_check(found != names.end(),
               concat("--lang-pairs ", pair, ": ", source.origin(),
                      " has no such direction; nearest is ", nearest_name(pair, names)));
    const int32_t d = int32_t(found - names.begin());
    user_check(
        chosen(source.directions()[size_t(d)].source) &&
            chosen(source.directions()[size_t(d)].target),
        concat("--lang-pairs ", pair, ": --langs ", config.langs, " does not have both languages"));
    if (std::find(directions.begin(), directions.end(), d) == directions.end())
      directions.push_back(d);
  }
  if (!pairs.empty()) return directions;
  for (size_t d = 0; d < names.size(); ++d) {
    if (chosen(source.directions()[d].source) && chosen(source.directions()[d].target))
      directions.push_back(int32_t(d));
  }
  user_check(!directions.empty(),
             concat("--langs ", config.langs, ": ", source.origin(), " has no pair among them"));
  return directions;
}

TranslationBatch to_tensors(const HostBatch& h) {
  TranslationBatch b;
  b.sentences = h.sentences, b.source_time = h.source_time, b.target_time = h.target_time;
  b.source_tokens = h.source_tokens, b.target_tokens = h.target_tokens;
  b.ids = h.ids, b.direction = h.direction;
  b.source = Tensor::of(h.source, {h.sentences, h.source_time});
  b.decoder_input = Tensor::of(h.decoder_input, {h.sentences, h.target_time});
  b.target = Tensor::of(h.target, {h.sentences, h.target_time});
  return b;
}

Batcher::Batcher(std::shared_ptr<const TranslationSource> source, DataConfig config, Split split)
    : source_(std::move(source)), config_(std::move(config)), split_(split) {}

static int64_t source_index(SentenceRef s) { return s.source >= 0 ? s.source : s.index; }

int64_t Batcher::source_length(SentenceRef s) const {
  return int64_t(source_->source(split_, s.direction)[source_index(s)].size()) + 1 +
         (config_.encoder_langtok != "none");
}
int64_t Batcher::target_length(SentenceRef s) const {
  return int64_t(source_->target(split_, s.direction)[s.index].size()) + 1 +
         config_.decoder_langtok;
}

SentenceList Batcher::usable(int32_t direction, Counts& skipped) const {
  SentenceList list;
  const int64_t n = source_->size(split_, direction);
  for (int32_t i = 0; i < n; ++i) {
    const SentenceRef s{direction, i};
    const int64_t from = source_length(s), to = target_length(s);
    if (from > config_.max_source_positions) ++skipped["longer than --max-source-positions"];
    else if (to > config_.max_target_positions) ++skipped["longer than --max-target-positions"];
    else if (std::max(from, to) > config_.max_tokens) ++skipped["longer than --max-tokens"];
    else list.push_back(s);
  }
  return list;
}

void Batcher::sort_by_length(SentenceList& list) const {
  const auto stable = [&](auto length) {
    std::stable_sort(list.begin(), list.end(),
                     [&](SentenceRef a, SentenceRef b) { return length(a) < length(b); });
  };
  stable([&](SentenceRef s) { return target_length(s); });
  stable([&](SentenceRef s) { return source_length(s); });
}

std::vector<SentenceList> Batcher::cut(const SentenceList& sorted, int64_t max_tokens,
                                       int64_t max_sentences, int64_t multiple) const {
  std::vector<SentenceList> batches;
  for (size_t begin = 0; begin < sorted.size();) {
    int64_t longest = 0, rows = 0;
    for (size_t i = begin; i < sorted.size() && (max_sentences == 0 || rows < max_sentences);
         ++i, ++rows) {
      longest = std::max({longest, source_length(sorted[i]), target_length(sorted[i])});
      if (rows > 0 && (rows + 1) * longest > max_tokens) break;
    }
    // a batch that was cut by a limit keeps a multiple of rows; the list's end stays as it is
    if (rows > multiple && begin + size_t(rows) < sorted.size()) rows -= rows % multiple;
    batches.emplace_back(sorted.begin() + int64_t(begin), sorted.begin() + int64_t(begin) + rows);
    begin += size_t(rows);
  }
  return batches;
}

HostBatch Batcher::build(const SentenceList& list) const {
  std::vector<Row> rows;
  for (const SentenceRef s : list) {
    const Direction& d = source_->directions()[size_t(s.direction)];
    const Tokenizer& t = source_->tokenizer();
    rows.push_back({source_->source(split_, s.direction)[source_index(s)],
                    source_->target(split_, s.direction)[s.index],
                    source_front(t, config_, d.source, d.target),
                    target_front(t, config_, d.target)});
  }
  HostBatch batch = collate(rows);
  for (const SentenceRef s : list)
    batch.ids.push_back(s.index), batch.direction.push_back(s.direction);
  return batch;
}

TranslationBatch source_batch(const Tokenizer& tokenizer, const DataConfig& config,
                              const std::vector<std::vector<int32_t>>& sources,
                              const std::string& source_lang, const std::string& target_lang) {
  std::vector<Row> rows;
  for (const auto& pieces : sources) {
    rows.push_back({pieces,
                    {},
                    source_front(tokenizer, config, source_lang, target_lang),
                    target_front(tokenizer, config, target_lang)});
  }
  HostBatch batch = collate(rows);
  for (int64_t i = 0; i < batch.sentences; ++i)
    batch.ids.push_back(i), batch.direction.push_back(0);
  return to_tensors(batch);
}

EvalBatches::EvalBatches(std::shared_ptr<const TranslationSource> source, const DataConfig& config,
                         Split split, int32_t direction, int64_t max_tokens, int64_t max_sentences,
                         int rank, int ranks, EvalSelection selection)
    : batcher_(source, config, split), rank_(rank), ranks_(ranks) {
  user_check(max_tokens > 0 || max_sentences > 0,
             "evaluation batches need --max-tokens or --batch-size");
  SentenceList all;
  for (int32_t d :
       direction >= 0 ? std::vector<int32_t>{direction} : selected_directions(*source, config)) {
    SentenceList list = batcher_.usable(d, skipped_);
    if (selection.first_sentences > 0 && int64_t(list.size()) > selection.first_sentences)
      list.resize(size_t(selection.first_sentences));
    for (size_t i = 0; selection.shuffle_sources && i < list.size(); ++i)
      list[i].source = list[(i + 1) % list.size()].index;
    all.insert(all.end(), list.begin(), list.end());
  }
  for (const auto& [why, n] : skipped_) {
    user_check(config.skip_invalid_size_inputs,
               concat(source->origin(), ": ", n, " sentences of split ", kSplitNames[size_t(split)],
                      " are ", why,
                      "; raise it, or leave them out with --skip-invalid-size-inputs-valid-test"));
  }
  sentences_ = int64_t(all.size());
  batcher_.sort_by_length(all);
  lists_ = batcher_.cut(all, max_tokens > 0 ? max_tokens : INT64_MAX / 2, max_sentences, 1);
}

TranslationBatch EvalBatches::operator[](int64_t i) const {
  check(i >= 0 && i < size(), "evaluation batch index out of range");
  const size_t k = size_t(i * ranks_ + rank_);
  return to_tensors(batcher_.build(k < lists_.size() ? lists_[k] : SentenceList()));
}

}  // namespace switchyard
