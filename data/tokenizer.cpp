#include "data/tokenizer.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

namespace switchyard {
namespace {

const std::vector<std::string> kSpecials = {"<s>", "<pad>", "</s>", "<unk>"};
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

// SentencePiece numbers <unk>, <s>, </s> 0, 1, 2 and its pieces from 3; ours follow four specials.
constexpr int kFirstPiece = 3, kShift = 1;

std::shared_ptr<const sentencepiece::SentencePieceProcessor> load(const std::string& model) {
  auto processor = std::make_shared<sentencepiece::SentencePieceProcessor>();
  user_check(processor->LoadFromSerializedProto(model).ok(),
             "the tokenizer is not a SentencePiece model");
  user_check(processor->unk_id() == 0 && processor->bos_id() == 1 && processor->eos_id() == 2,
             "the SentencePiece model does not begin with <unk>, <s>, </s>");
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
    const size_t at = why.find("required_chars. ");
    int needed = 0;
    if (at != why.npos && std::sscanf(&why[at], "required_chars. %*d vs %d", &needed) == 1)
      why = concat("the text has so many different characters that it needs at least ", needed,
                   " pieces: raise --vocab-size or lower --character-coverage");
    throw UserError(option + why);
  }
  const int pieces = load(model)->GetPieceSize();
  user_check(pieces == options.vocabulary_size,
             concat(option, "the training text supports at most ", pieces,
                    " pieces; give that number or a smaller one"));
  return model;
}

std::vector<std::string> make_vocabulary(const std::vector<std::string>& words,
                                         const std::vector<std::string>& langs) {
  std::vector<std::string> all = kSpecials;
  all.insert(all.end(), words.begin(), words.end());
  for (int i = 0; all.size() % 8 != 0; ++i)
    all.push_back(concat("madeupword000", i));  // fairseq's filler names
  for (const std::string& lang : langs) all.push_back(language_token_name(lang));
  return all;
}

std::vector<std::string> make_vocabulary(const std::string& model,
                                         const std::vector<std::string>& langs) {
  const auto sp = load(model);
  std::vector<std::string> pieces;
  for (int i = kFirstPiece; i < sp->GetPieceSize(); ++i) pieces.push_back(sp->IdToPiece(i));
  return make_vocabulary(pieces, langs);
}

Tokenizer::Tokenizer(std::string model, std::vector<std::string> vocabulary)
    : model_(std::move(model)), vocabulary_(std::move(vocabulary)) {
  user_check(
      vocabulary_.size() > 4 && std::ranges::equal(kSpecials, std::span(vocabulary_).first(4)),
      "the vocabulary does not begin with <s>, <pad>, </s>, <unk>");
  if (model_.empty()) return;
  processor_ = load(model_);
  const int pieces = processor_->GetPieceSize();
  bool same = pieces + kShift <= std::ssize(vocabulary_);
  for (int i = kFirstPiece; same && i < pieces; ++i)
    same = processor_->IdToPiece(i) == vocabulary_[size_t(i + kShift)];
  user_check(same, "the tokenizer's pieces are not those of the vocabulary");
}

std::vector<int32_t> Tokenizer::encode(const std::string& text) const {
  std::vector<int32_t> ids;
  if (processor_) {
    ids = processor_->EncodeAsIds(text);
    for (int32_t& id : ids) id = id < kFirstPiece ? int32_t(kUnk) : id + kShift;
    return ids;
  }
  for (std::string_view word : split_words(text)) {
    const auto found = std::ranges::find(vocabulary_, word);
    ids.push_back(int32_t(found == vocabulary_.end() ? kUnk : found - vocabulary_.begin()));
  }
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids) const {
  std::vector<int> pieces;
  std::string text;
  for (int32_t id : ids) {
    check(id >= 0 && id < std::ssize(vocabulary_),
          concat("token id ", id, " is outside the vocabulary"));
    if (processor_) {
      if (id == kUnk) pieces.push_back(processor_->unk_id());
      else if (id > kUnk && id - kShift < processor_->GetPieceSize()) pieces.push_back(id - kShift);
    } else if (id > kUnk && !is_language_token(vocabulary_[size_t(id)])) {
      text += (text.empty() ? "" : " ") + vocabulary_[size_t(id)];
    }
  }
  return processor_ ? processor_->DecodeIds(pieces) : text;
}

int64_t Tokenizer::language_token(const std::string& lang) const {
  // from the back, where they are: this is asked for every sentence
  const auto found = std::find(vocabulary_.rbegin(), vocabulary_.rend(), language_token_name(lang));
  if (found != vocabulary_.rend()) return vocabulary_.rend() - found - 1;
  std::vector<std::string> known;
  for (const std::string& word : vocabulary_)
    if (is_language_token(word)) known.push_back(word.substr(2, word.size() - 4));
  throw UserError(
      concat("unknown language ", lang, ": did you mean ", nearest_name(lang, known), "?"));
}

}  // namespace switchyard
