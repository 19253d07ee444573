#include "data/batcher.h"

#include <algorithm>

#include "tensor/check.h"

namespace switchyard {
namespace {

// Sentence pairs on their way into a batch.
class Rows {
 public:
  Rows(const Tokenizer& tokenizer, const DataConfig& config)
      : tokenizer_(tokenizer), config_(config) {}

  void add(std::span<const int32_t> source, std::span<const int32_t> target,
           const std::string& source_lang, const std::string& target_lang) {
    const std::string& mark = config_.encoder_langtok == "src" ? source_lang : target_lang;
    sources_.push_back(framed(source, config_.encoder_langtok != "none", mark));
    targets_.push_back(framed(target, config_.decoder_langtok, target_lang));
  }

  TranslationBatch batch() && {
    TranslationBatch b;
    b.sentences = int64_t(sources_.size());
    b.source = padded(sources_, true, b.source_tokens);   // [B, Ts]
    b.target = padded(targets_, false, b.target_tokens);  // [B, Tt]
    for (auto& row : targets_) std::rotate(row.begin(), row.end() - 1, row.end());
    b.decoder_input = padded(targets_, false, b.target_tokens);  // [B, Tt]
    b.source_time = b.source.shape()[1], b.target_time = b.target.shape()[1];
    return b;
  }

 private:
  using Ids = std::vector<int64_t>;

  // The pieces behind their language token, and </s>.
  Ids framed(std::span<const int32_t> pieces, bool marked, const std::string& lang) const {
    Ids row;
    if (marked) row.push_back(tokenizer_.language_token(lang));
    row.insert(row.end(), pieces.begin(), pieces.end());
    row.push_back(kEos);
    return row;
  }

  static Tensor padded(const std::vector<Ids>& rows, bool left, int64_t& tokens) {
    size_t longest = 0;
    tokens = 0;
    for (const Ids& row : rows) longest = std::max(longest, row.size()), tokens += row.size();
    Ids out(rows.size() * longest, kPad);
    for (size_t i = 0; i < rows.size(); ++i) {
      const size_t skip = left ? longest - rows[i].size() : 0;
      std::ranges::copy(rows[i], out.begin() + int64_t(i * longest + skip));
    }
    return Tensor::of(out, {int64_t(rows.size()), int64_t(longest)});
  }

  const Tokenizer& tokenizer_;
  const DataConfig& config_;
  std::vector<Ids> sources_, targets_;
};

bool contains(const std::vector<std::string>& list, const std::string& name) {
  return std::ranges::find(list, name) != list.end();
}

int64_t source_index(SentenceRef s) { return s.source >= 0 ? s.source : s.index; }

}  // namespace

void validate(const DataConfig& c) {
  for (const auto& [value, option] :
       {std::pair(double(c.max_tokens), "max-tokens"),
        std::pair(double(c.required_batch_size_multiple), "required-batch-size-multiple"),
        std::pair(double(c.max_source_positions), "max-source-positions"),
        std::pair(double(c.max_target_positions), "max-target-positions"),
        std::pair(c.sampling_temperature, "sampling-temperature")}) {
    user_check(value > 0, concat("--", option, " ", value, ": expected a positive number"));
  }
}

std::vector<int32_t> selected_directions(const TranslationSource& source,
                                         const DataConfig& config) {
  const std::vector<std::string> langs = split_list(config.langs),
                                 pairs = split_list(config.lang_pairs);
  std::vector<std::string> names;
  for (const Direction& d : source.directions()) names.push_back(d.name());
  const auto check_names = [&](const char* option, const std::vector<std::string>& given,
                               const std::vector<std::string>& known, const char* what) {
    for (const std::string& name : given) {
      user_check(contains(known, name),
                 concat("--", option, " ", name, ": ", source.origin(), " has no such ", what,
                        "; nearest is ", nearest_name(name, known)));
    }
  };
  check_names("langs", langs, source.langs(), "language");
  check_names("lang-pairs", pairs, names, "direction");
  std::vector<int32_t> directions;
  for (size_t d = 0; d < names.size(); ++d) {
    const Direction& x = source.directions()[d];
    const bool of_langs = langs.empty() || (contains(langs, x.source) && contains(langs, x.target));
    const bool of_pairs = contains(pairs, names[d]);
    user_check(of_langs || !of_pairs, concat("--lang-pairs ", names[d], ": --langs ", config.langs,
                                             " does not have both languages"));
    if (of_pairs || (pairs.empty() && of_langs)) directions.push_back(int32_t(d));
  }
  user_check(!directions.empty(),
             concat("--langs ", config.langs, ": ", source.origin(), " has no pair among them"));
  return directions;
}

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

TranslationBatch Batcher::build(const SentenceList& list) const {
  Rows rows(source_->tokenizer(), config_);
  for (const SentenceRef s : list) {
    const Direction& d = source_->directions()[size_t(s.direction)];
    rows.add(source_->source(split_, s.direction)[source_index(s)],
             source_->target(split_, s.direction)[s.index], d.source, d.target);
  }
  TranslationBatch batch = std::move(rows).batch();
  for (const SentenceRef s : list)
    batch.ids.push_back(s.index), batch.direction.push_back(s.direction);
  return batch;
}

TranslationBatch source_batch(const Tokenizer& tokenizer, const DataConfig& config,
                              const std::vector<std::vector<int32_t>>& sources,
                              const std::string& source_lang, const std::string& target_lang) {
  Rows rows(tokenizer, config);
  for (const auto& pieces : sources) rows.add(pieces, {}, source_lang, target_lang);
  return std::move(rows).batch();
}

EvalBatches::EvalBatches(std::shared_ptr<const TranslationSource> source, const DataConfig& config,
                         Split split, int32_t direction, int64_t max_tokens, int64_t max_sentences,
                         int rank, int ranks, EvalSelection selection)
    : batcher_(source, config, split), rank_(rank), ranks_(ranks) {
  user_check(max_tokens > 0 || max_sentences > 0,
             "evaluation batches need --max-tokens or --batch-size");
  SentenceList all;
  Counts skipped;
  for (int32_t d :
       direction >= 0 ? std::vector<int32_t>{direction} : selected_directions(*source, config)) {
    SentenceList list = batcher_.usable(d, skipped);
    if (selection.first_sentences > 0 && int64_t(list.size()) > selection.first_sentences)
      list.resize(size_t(selection.first_sentences));
    for (size_t i = 0; selection.shuffle_sources && i < list.size(); ++i)
      list[i].source = list[(i + 1) % list.size()].index;
    all.insert(all.end(), list.begin(), list.end());
  }
  for (const auto& [why, n] : skipped) {
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
  return batcher_.build(k < lists_.size() ? lists_[k] : SentenceList());
}

}  // namespace switchyard
