#include "data/tokenizer.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <algorithm>

#include "data/batch.h"
#include "tensor/check.h"

namespace switchyard {
namespace {

constexpr const char* kSpecials[] = {"<s>", "<pad>", "</s>", "<unk>"};
constexpr int64_t kMaxLineBytes = 4192;  // SentencePiece's own limit for a training line

class LineIterator : public sentencepiece::SentenceIterator {
 public:
  explicit LineIterator(std::vector<const std::string*> lines) : lines_(std::move(lines)) {}
  bool done() const override { return next_ >= lines_.size(); }
  void Next() override { ++next_; }
  const std::string& value() const override { return *lines_[next_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  std::vector<const std::string*> lines_;
  size_t next_ = 0;
};

std::shared_ptr<const sentencepiece::SentencePieceProcessor> load(const std::string& model) {
  auto processor = std::make_shared<sentencepiece::SentencePieceProcessor>();
  user_check(processor->LoadFromSerializedProto(model).ok(),
             "the tokenizer is not a SentencePiece model");
  return processor;
}

std::string language_token_name(const std::string& lang) { return "__" + lang + "__"; }
bool is_language_token(const std::string& word) {
  return word.size() > 4 && word.starts_with("__") && word.ends_with("__");
}

}  // namespace

std::string train_sentencepiece(const std::vector<std::string>& lines,
                                const TokenizerOptions& options, Counts& skipped) {
  const std::string option = concat("--vocab-size ", options.vocabulary_size, ": ");
  user_check(options.vocabulary_size >= 8 && options.vocabulary_size <= 1000000,
             option + "expected a number from 8 to 1000000");
  std::vector<const std::string*> chosen;
  const size_t step = (lines.size() + size_t(options.max_lines) - 1) / size_t(options.max_lines);
  for (size_t i = 0; i < lines.size(); i += std::max<size_t>(step, 1)) {
    if (int64_t(lines[i].size()) > kMaxLineBytes) ++skipped["line too long to train the tokenizer"];
    else chosen.push_back(&lines[i]);
  }
  user_check(!chosen.empty(), "no training text for the tokenizer");
  LineIterator iterator(std::move(chosen));
  std::string model;
  // One thread: the unigram trainer's sums depend on the number of threads. The soft limit lets us say how many
  // pieces the text supports.
  const auto status = sentencepiece::SentencePieceTrainer::Train(
      {{"model_type", options.model_type},
       {"vocab_size", std::to_string(options.vocabulary_size)},
       {"character_coverage", concat(options.character_coverage)},
       {"normalization_rule_name", "nmt_nfkc"},
       {"num_threads", "1"},
       {"input_sentence_size", "0"},
       {"hard_vocab_limit", "false"},
       {"minloglevel", "3"}},
      &iterator, &model);
  if (!status.ok()) {
    std::string why = status.ToString();
    const size_t at =
        why.find("required_chars. ");  // "... smaller than required_chars. 20 vs 30. ..."
    if (at != std::string::npos) {
      const size_t vs = why.find("vs ", at), stop = why.find('.', vs);
      why = concat("the text has so many different characters that it needs at least ",
                   why.substr(vs + 3, stop - vs - 3),
                   " pieces: raise --vocab-size or lower --character-coverage");
    }
    throw UserError(option + why);
  }
  const int pieces = load(model)->GetPieceSize();
  user_check(pieces == options.vocabulary_size,
             concat(option, "the training text supports at most ", pieces,
                    " pieces; give that number or a smaller one"));
  return model;
}

std::vector<std::string> Tokenizer::make_vocabulary(std::vector<std::string> pieces,
                                                    const std::vector<std::string>& langs) {
  std::vector<std::string> words(std::begin(kSpecials), std::end(kSpecials));
  words.insert(words.end(), pieces.begin(), pieces.end());
  for (int i = 0; words.size() % 8 != 0; ++i)
    words.push_back(concat("madeupword000", i));  // fairseq's filler names
  for (const std::string& lang : langs) words.push_back(language_token_name(lang));
  return words;
}

std::vector<std::string> Tokenizer::make_vocabulary(const std::string& model,
                                                    const std::vector<std::string>& langs) {
  const auto sp = load(model);
  std::vector<std::string> pieces;
  for (int i = 0; i < sp->GetPieceSize(); ++i) {
    if (!sp->IsControl(i) && !sp->IsUnknown(i)) pieces.push_back(sp->IdToPiece(i));
  }
  return make_vocabulary(std::move(pieces), langs);
}

Tokenizer::Tokenizer(std::string model, std::vector<std::string> vocabulary)
    : model_(std::move(model)), vocabulary_(std::move(vocabulary)) {
  user_check(vocabulary_.size() > 4 &&
                 std::equal(std::begin(kSpecials), std::end(kSpecials), vocabulary_.begin()),
             "the vocabulary does not begin with <s>, <pad>, </s>, <unk>");
  for (size_t i = 0; i < vocabulary_.size(); ++i) id_of_.emplace(vocabulary_[i], int32_t(i));
  user_check(id_of_.size() == vocabulary_.size(), "the vocabulary holds a word twice");
  if (model_.empty()) return;
  processor_ = load(model_);
  const auto& sp = *processor_;
  from_piece_.assign(size_t(sp.GetPieceSize()), int32_t(kUnk));
  to_piece_.assign(vocabulary_.size(), -1);
  to_piece_[kUnk] = sp.unk_id();
  for (int i = 0; i < sp.GetPieceSize(); ++i) {
    if (sp.IsControl(i) || sp.IsUnknown(i)) continue;
    const auto found = id_of_.find(sp.IdToPiece(i));
    user_check(found != id_of_.end(),
               concat("the tokenizer's piece ", sp.IdToPiece(i),
                      " is not in the vocabulary: they do not belong together"));
    from_piece_[size_t(i)] = found->second;
    to_piece_[size_t(found->second)] = i;
  }
}

std::vector<int32_t> Tokenizer::encode(const std::string& text) const {
  std::vector<int32_t> ids;
  if (processor_) {
    std::vector<int> pieces;
    const auto status = processor_->Encode(text, &pieces);
    check(status.ok(), status.ToString());
    for (int p : pieces) ids.push_back(from_piece_[size_t(p)]);
    return ids;
  }
  for (std::string_view word : split_words(text)) {
    const auto found = id_of_.find(std::string(word));
    ids.push_back(found == id_of_.end() ? int32_t(kUnk) : found->second);
  }
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids) const {
  std::vector<int> pieces;
  std::string text;
  for (int32_t id : ids) {
    check(id >= 0 && size_t(id) < vocabulary_.size(),
          concat("token id ", id, " is outside the vocabulary"));
    if (processor_) {
      if (to_piece_[size_t(id)] >= 0) pieces.push_back(to_piece_[size_t(id)]);
    } else if (id > kUnk && !is_language_token(vocabulary_[size_t(id)])) {
      text += (text.empty() ? "" : " ") + vocabulary_[size_t(id)];
    }
  }
  if (processor_ && !pieces.empty()) {
    const auto status = processor_->Decode(pieces, &text);
    check(status.ok(), status.ToString());
  }
  return text;
}

int64_t Tokenizer::language_token(const std::string& lang) const {
  const auto found = id_of_.find(language_token_name(lang));
  if (found != id_of_.end()) return found->second;
  std::vector<std::string> known;
  for (const std::string& word : vocabulary_)
    if (is_language_token(word)) known.push_back(word.substr(2, word.size() - 4));
  throw UserError(
      concat("unknown language ", lang, ": did you mean ", nearest_name(lang, known), "?"));
}

}  // namespace switchyard
