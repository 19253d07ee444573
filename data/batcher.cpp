#include "data/sampler.h"

namespace switchyard {
namespace {

using Ids = std::vector<int64_t>;

// [rows, longest row], filled up with kPad at the left or at the right; adds the ids to `tokens`.
Tensor padded(const std::vector<Ids>& rows, bool left, int64_t& tokens) {
  size_t longest = 0;
  for (const Ids& row : rows) longest = std::max(longest, row.size());
  Ids out(rows.size() * longest, kPad);
  for (size_t i = 0; i < rows.size(); ++i) {
    const size_t skip = left ? longest - rows[i].size() : 0;
    std::ranges::copy(rows[i], out.begin() + int64_t(i * longest + skip));
    tokens += std::ssize(rows[i]);
  }
  return Tensor::of(out, {std::ssize(rows), int64_t(longest)});
}

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
  const auto langs = split_list(config.langs), pairs = split_list(config.lang_pairs);
  std::vector<std::string> names;
  for (const Direction& d : source.directions()) names.push_back(d.name());
  for (const std::string& lang : langs)
    check_known(concat("--langs ", lang, ": not in ", source.origin()), lang, source.langs());
  for (const std::string& pair : pairs)
    check_known(concat("--lang-pairs ", pair, ": not in ", source.origin()), pair, names);
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

TranslationBatch make_batch(const Tokenizer& tokenizer, const DataConfig& config,
                            const std::vector<PiecePair>& pairs) {
  const auto framed = [&](std::span<const int32_t> pieces, bool marked, const std::string& lang) {
    Ids row;
    if (marked) row.push_back(tokenizer.language_token(lang));
    row.insert(row.end(), pieces.begin(), pieces.end());
    row.push_back(kEos);
    return row;
  };
  std::vector<Ids> sources, targets;
  for (const PiecePair& p : pairs) {
    sources.push_back(framed(p.source, config.encoder_langtok != "none",
                             config.encoder_langtok == "src" ? p.source_lang : p.target_lang));
    targets.push_back(framed(p.target, config.decoder_langtok, p.target_lang));
  }
  TranslationBatch b;
  b.sentences = std::ssize(pairs);
  b.source = padded(sources, true, b.source_tokens);   // [B, Ts]
  b.target = padded(targets, false, b.target_tokens);  // [B, Tt]
  b.source_time = b.source.shape()[1], b.target_time = b.target.shape()[1];
  int64_t again = 0;
  for (Ids& row : targets) std::rotate(row.begin(), row.end() - 1, row.end());
  b.decoder_input = padded(targets, false, again);  // [B, Tt]
  return b;
}

std::pair<int64_t, int64_t> Batcher::lengths(SentenceRef s) const {
  const int64_t source = std::ssize(source_->source(split_, s.direction)[s.source]),
                target = std::ssize(source_->target(split_, s.direction)[s.index]);
  return {source + 1 + (config_.encoder_langtok != "none"), target + 1 + config_.decoder_langtok};
}

SentenceList Batcher::usable(int32_t direction, Counts& skipped) const {
  SentenceList list;
  for (int32_t i = 0; i < source_->size(split_, direction); ++i) {
    const SentenceRef s{direction, i, i};
    const auto [from, to] = lengths(s);
    if (from > config_.max_source_positions) ++skipped["longer than --max-source-positions"];
    else if (to > config_.max_target_positions) ++skipped["longer than --max-target-positions"];
    else if (std::max(from, to) > config_.max_tokens) ++skipped["longer than --max-tokens"];
    else list.push_back(s);
  }
  return list;
}

std::vector<SentenceList> Batcher::cut(SentenceList list, int64_t max_tokens, int64_t max_sentences,
                                       int64_t multiple) const {
  std::ranges::stable_sort(list, {}, [&](SentenceRef s) { return lengths(s); });
  std::vector<SentenceList> batches;
  for (size_t begin = 0; begin < list.size();) {
    int64_t longest = 0, rows = 0;
    for (size_t i = begin; i < list.size() && (max_sentences == 0 || rows < max_sentences);
         ++i, ++rows) {
      const auto [from, to] = lengths(list[i]);
      longest = std::max({longest, from, to});
      if (rows > 0 && (rows + 1) * longest > max_tokens) break;
    }
    // a batch that was cut by a limit keeps a multiple of rows; the list's end stays as it is
    if (rows > multiple && begin + size_t(rows) < list.size()) rows -= rows % multiple;
    batches.emplace_back(list.begin() + int64_t(begin), list.begin() + int64_t(begin) + rows);
    begin += size_t(rows);
  }
  return batches;
}

TranslationBatch Batcher::build(const SentenceList& list) const {
  std::vector<PiecePair> pairs;
  for (const SentenceRef s : list) {
    const Direction& d = source_->directions()[size_t(s.direction)];
    pairs.push_back({source_->source(split_, s.direction)[s.source],
                     source_->target(split_, s.direction)[s.index], d.source, d.target});
  }
  TranslationBatch batch = make_batch(source_->tokenizer(), config_, pairs);
  for (const SentenceRef s : list) {
    batch.ids.push_back(s.index);
    batch.direction.push_back(s.direction);
  }
  return batch;
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
  lists_ =
      batcher_.cut(std::move(all), max_tokens > 0 ? max_tokens : INT64_MAX / 2, max_sentences, 1);
}

TranslationBatch EvalBatches::operator[](int64_t i) const {
  check(i >= 0 && i < size(), "evaluation batch index out of range");
  const size_t k = size_t(i * ranks_ + rank_);
  return batcher_.build(k < lists_.size() ? lists_[k] : SentenceList());
}

}  // namespace switchyard
