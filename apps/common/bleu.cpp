// Tokenisers, score and signature.
#include "apps/common/bleu.h"

#include <sentencepiece_processor.h>

#include <cmath>
#include <map>

#include "apps/common/text_table.h"
#include "data/text_files.h"

namespace switchyard {
namespace {

// Each tokeniser is a list of these. Pair rules consume both characters.
const std::vector<const Rules*>& tokenizer_rules(const std::string& name) {
  static const Rules entities = {{"<skipped>", ""}, {"-\n", ""},      {"\n", " "},
                                 {"&quot;", "\""},  {"&amp;", "&"},   {"&lt;", "<"},
                                 {"&gt;", ">"},     {R"(\A|\z)", " "}};
  static const Rules punctuation = {
      // all of ASCII except apostrophe, comma, hyphen, full stop
      {R"([\x20-\x26\x28-\x2B\x2F\x3A-\x40\x5B-\x60\x7B-\x7E])", " $0 "},
      {"([^0-9])([.,])", "$1 $2 "},
      {"([.,])([^0-9])", " $1 $2"},
      {"([0-9])-", "$1 - "}};
  static const Rules categories = {
      {R"((\P{N})(\p{P}))", "$1 $2 "}, {R"((\p{P})(\P{N}))", " $1 $2"}, {R"(\p{S})", " $0 "}};
  // Trimmed first: blanks are Chinese too, and a blank before a full stop would split it off. The last two
  // ranges come from the reference's four-digit escapes of supplementary ranges; they cover general
  // punctuation, arrows and mathematical operators and change scores.
  static const Rules chinese = {
      {R"(\A[)" + kSpaces + "]+", ""},
      {R"([\u3400-\u4DB5\u4E00-\u9FA5\u9FA6-\u9FBB\uF900-\uFA2D\uFA30-\uFA6A\uFA70-\uFAD9)"
       R"(\uFF00-\uFFEF\u2E80-\u2EFF\u3000-\u303F\u31C0-\u31EF\u2F00-\u2FDF\u2FF0-\u2FFF)"
       R"(\u3100-\u312F\u31A0-\u31BF\uFE10-\uFE1F\uFE30-\uFE4F\u2600-\u26FF\u2700-\u27BF)"
       R"(\u3200-\u32FF\u3300-\u33FF\u2001-\u2A6D\u2F81-\u2FA1])",
       " $0 "}};
  static const Rules characters = {{R"((?s)(?!\A).)", " $0"}};
  static const Rules join = {{"[" + kSpaces + "]+", " "}, {R"(\A | \z)", ""}};
  static const std::map<std::string, std::vector<const Rules*>> tokenizers = {
      {"13a", {&entities, &punctuation, &join}},
      {"intl", {&categories, &join}},
      {"zh", {&chinese, &punctuation, &join}},
      {"char", {&characters}},
      {"none", {}}};
  user_check(
      tokenizers.contains(name),
      concat("BLEU tokenizer '", name,
             "' is not one of 13a, intl, zh, char, none, spm-<name> (with a model of yours)"));
  return tokenizers.at(name);
}

bool uses_pieces(const BleuOptions& options) { return options.tokenizer.starts_with("spm-"); }

double smoothing_value(const BleuOptions& options) {
  return options.smooth_value.value_or(options.smooth == "floor" ? 0.1 : 1.0);
}

}  // namespace

void validate(const BleuOptions& options) {
  const std::string &tokenizer = options.tokenizer, &smooth = options.smooth;
  if (uses_pieces(options)) {
    std::string name = tokenizer.substr(4);
    user_check(!name.empty() && name.find_first_of("|: ") == name.npos,
               concat("BLEU tokenizer '", tokenizer, "' has no name that a signature can hold"));
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
    user_check(name.find("flores") == name.npos,
               concat("BLEU tokenizer '", tokenizer,
                      "': scores named flores belong to the public models; take another name"));
    user_check(bool(options.pieces), concat("BLEU tokenizer '", tokenizer, "' needs a model"));
  } else {
    tokenizer_rules(tokenizer);
  }
  user_check(smooth == "exp" || smooth == "floor" || smooth == "add-k" || smooth == "none",
             concat("BLEU smoothing '", smooth, "' is not one of exp, floor, add-k, none"));
}

std::function<std::string(const std::string&)> sentencepiece_pieces(const std::string& model_file) {
  const auto model = std::make_shared<sentencepiece::SentencePieceProcessor>();
  user_check(model->LoadFromSerializedProto(read_file(model_file)).ok(),
             model_file + " is not a SentencePiece model");
  return [model](const std::string& line) {
    Lines pieces;
    check(model->Encode(line, &pieces).ok(), "SentencePiece cannot encode a line");
    return join(pieces, " ");
  };
}

std::string bleu_tokenize(const std::string& text, const BleuOptions& options) {
  static const Rules trim = {{"(?<![" + kSpaces + "])[" + kSpaces + R"(]+\z)", ""}};
  std::string line = rewrite(text, trim, options.lower_case);
  if (uses_pieces(options)) return options.pieces(line);
  for (const Rules* rules : tokenizer_rules(options.tokenizer)) line = rewrite(line, *rules);
  return line;
}

BleuScore corpus_bleu(const Lines& hypotheses, const std::vector<Lines>& references,
                      const BleuOptions& options) {
  validate(options);
  const std::string& smooth = options.smooth;
  const auto count = [&](const std::string& hypothesis, const Lines& of_segment) {
    Lines lines = {bleu_tokenize(hypothesis, options)};
    for (const std::string& line : of_segment) lines.push_back(bleu_tokenize(line, options));
    return count_matches(lines, 4, Unit::Word);
  };
  const NgramTotals counts = sum_segments(hypotheses, references, 4, count);
  BleuScore out;
  if (hypotheses.empty()) return out;
  const double c = counts[0].hypothesis, r = counts[0].reference;  // lengths
  out.hyp_len = int64_t(c);
  out.ref_len = int64_t(r);
  out.brevity_penalty = c >= r ? 1 : c > 0 ? std::exp(1 - r / c) : 0;
  for (size_t n = 0; n < 4; ++n) {
    out.match[n] = counts[n].match;
    out.total[n] = counts[n].hypothesis;
  }
  if (out.match == std::array<double, 4>{}) return out;  // before any smoothing

  const double s = smoothing_value(options);
  double halves = 1;  // exp: 1/2, 1/4, ... of one match at each order without any
  int orders = 4;
  for (int n = 0; n < 4; ++n) {
    if (smooth == "add-k" && n > 0) out.match[n] += s, out.total[n] += s;
    if (out.total[n] == 0) break;
    if (options.effective_order) orders = n + 1;
    double match = out.match[n];
    if (match == 0 && smooth == "exp") match = 1 / (halves *= 2);
    if (match == 0 && smooth == "floor") match = s;
    out.precisions[n] = 100 * match / out.total[n];
  }
  double log_sum = 0;
  for (int n = 0; n < orders; ++n)
    log_sum += out.precisions[n] == 0 ? -9999999999.0 : std::log(out.precisions[n]);
  out.score = out.brevity_penalty * std::exp(log_sum / orders);
  return out;
}

std::string BleuScore::text(const std::string& signature, int width) const {
  const double ratio = ref_len == 0 ? 0 : double(hyp_len) / double(ref_len);
  std::string each;
  for (double precision : precisions) each += (each.empty() ? "" : "/") + fixed(precision, 1);
  return concat("BLEU", signature.empty() ? "" : "|", signature, " = ", fixed(score, width), " ",
                each, " (BP = ", fixed(brevity_penalty, 3), " ratio = ", fixed(ratio, 3),
                " hyp_len = ", hyp_len, " ref_len = ", ref_len, ")");
}

std::string bleu_signature(const BleuOptions& options, const std::string& references,
                           bool short_names) {
  const bool valued = options.smooth == "floor" || options.smooth == "add-k";
  return signature(
      references,
      {{"case", "c", options.lower_case ? "lc" : "mixed"},
       {"eff", "e", options.effective_order ? "yes" : "no"},
       {"tok", "tok", options.tokenizer},
       {"smooth", "s",
        options.smooth + (valued ? "[" + fixed(smoothing_value(options), 2) + "]" : "")}},
      short_names);
}

}  // namespace switchyard
