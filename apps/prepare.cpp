// apps/prepare translation: raw text -> SentencePiece model -> one HDF5 corpus file (data/corpus.h).
// Input is aligned text files or the message catalogues that are installed on the machine.
//   apps/prepare translation --gettext --langs fr,sv,da,eo --output corpus.h5
//   apps/prepare translation --train-prefix DIR/train --valid-prefix DIR/valid --lang-pairs en-fr,en-de ...
// The file is a function of text and options: not of the threads, the time or the folder's order.
#include <filesystem>
#include <iostream>
#include <thread>
#include <unordered_set>

#include "apps/common/flags.h"
#include "apps/common/text_table.h"
#include "data/bitext_builder.h"
#include "tensor/parallel.h"

namespace switchyard {
namespace {

using Pair = std::array<std::string, 2>;

struct PrepareConfig {
  std::string gettext, train_prefix, valid_prefix, test_prefix, langs, lang_pairs;
  bool plain_test = true;
  TokenizerOptions tokenizer;
  std::string output = "corpus.h5";
  int64_t threads = 0;

  template <class V>
  void visit(V&& v) {
    v.group("Input: message catalogues");
    v(gettext, "gettext", "folder of .mo and .po catalogues; without a value /usr/share/locale");
    v(plain_test, "plain-test", "test on plain prose only, where copying the source scores low");
    v.group("Input: aligned text files, PREFIX.en-fr.fr or PREFIX.fr, also .gz .zst .xz .bz2");
    v(train_prefix, "train-prefix", "training files");
    v(valid_prefix, "valid-prefix", "validation files");
    v(test_prefix, "test-prefix", "test files");
    v.group("Languages");
    v(langs, "langs",
      "comma list; its order fixes the language tokens (catalogues: default fr,sv,da,eo)");
    v(lang_pairs, "lang-pairs",
      "comma list of pairs such as en-fr (text files: default en with each of --langs)");
    v.group("Tokenizer");
    v(tokenizer.vocabulary_size, "vocab-size", "pieces of the SentencePiece model");
    v(tokenizer.model_type, "model-type", "kind of SentencePiece model", {"unigram", "bpe"});
    v(tokenizer.character_coverage, "character-coverage",
      "share of the text's characters that get a piece");
    v.group("Output");
    v(output, "output", "corpus file to write");
    v(threads, "threads", "threads for cleaning and encoding; 0 = all");
  }
};

void progress(const std::string& line) { std::cerr << "prepare: " << line << std::endl; }

// --lang-pairs, or English with each of --langs. A pair and its reverse are one bitext.
std::vector<Pair> language_pairs(const PrepareConfig& config) {
  std::vector<std::string> names = split_list(config.lang_pairs);
  for (const std::string& lang : split_list(config.langs))
    if (config.lang_pairs.empty() && lang != "en") names.push_back("en-" + lang);
  user_check(!names.empty(),
             "no languages to pair: give --langs, or --lang-pairs such as en-fr,en-de");
  std::vector<Pair> pairs;
  for (const std::string& name : names) {
    const size_t dash = std::min(name.find('-'), name.size() - 1);
    const Pair pair = {name.substr(0, dash), name.substr(dash + 1)};
    const auto allowed = [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '@'; };
    user_check(!pair[0].empty() && !pair[1].empty() && pair[0] != pair[1] &&
                   std::ranges::all_of(pair[0] + pair[1], allowed),
               concat("language pair ", name, ": expected two different languages such as en-fr, ",
                      "names of letters, digits, _ or @ (pt_BR, not pt-BR)"));
    if (!std::ranges::count(pairs, pair) && !std::ranges::count(pairs, Pair{pair[1], pair[0]}))
      pairs.push_back(pair);
  }
  return pairs;
}

// The order of the language tokens: --langs, then whatever else occurs (English last).
std::vector<std::string> token_languages(const PrepareConfig& config,
                                         const std::vector<Pair>& pairs) {
  std::vector<std::string> langs = split_list(config.langs), used;
  for (const Pair& pair : pairs) used.insert(used.end(), pair.begin(), pair.end());
  std::ranges::stable_partition(used, [](const std::string& lang) { return lang != "en"; });
  for (const std::string& lang : langs) {
    user_check(std::ranges::count(langs, lang) == 1, "--langs: " + lang + " is given twice");
    user_check(contains(used, lang), "--langs " + lang + ": no pair has this language");
  }
  for (const std::string& lang : used)
    if (!contains(langs, lang)) langs.push_back(lang);
  return langs;
}

// The file, perhaps compressed; "": there is none.
std::string existing_file(const std::string& path) {
  std::error_code ec;
  for (const char* ending : {"", ".gz", ".zst", ".xz", ".bz2"})
    if (std::filesystem::exists(path + ending, ec)) return path + ending;
  return "";
}

// The two files of a pair: PREFIX.a-b.LANG, PREFIX.b-a.LANG or PREFIX.LANG, each also compressed.
Pair find_files(const std::string& prefix, const Pair& pair) {
  for (const std::string& middle :
       {"." + pair[0] + "-" + pair[1], "." + pair[1] + "-" + pair[0], std::string()}) {
    const std::string stem = prefix + middle + ".";
    const Pair found = {existing_file(stem + pair[0]), existing_file(stem + pair[1])};
    user_check(found[0].empty() == found[1].empty(),
               concat("found ", found[0], found[1], ", but not its partner ", stem,
                      pair[found[1].empty()], "[.gz|.zst|.xz|.bz2]"));
    if (!found[0].empty()) return found;
  }
  throw UserError(concat("no files ", prefix, ".", pair[0], "-", pair[1], ".", pair[0], " and .",
                         pair[1], " (also tried ", pair[1], "-", pair[0],
                         ", no pair, and .gz .zst .xz .bz2)"));
}

std::vector<RawBitext> read_text(const PrepareConfig& config, const std::vector<Pair>& pairs) {
  std::vector<RawBitext> bitexts;
  for (const Pair& pair : pairs) {
    RawBitext& b = bitexts.emplace_back(RawBitext{pair});
    const std::string prefixes[] = {config.train_prefix, config.valid_prefix, config.test_prefix};
    for (size_t s = 0; s < 3; ++s) {
      if (prefixes[s].empty()) continue;
      const Pair files = find_files(prefixes[s], pair);
      b.splits[s] = read_aligned(files[0], files[1], b.counts);
      progress(concat(b.splits[s].size(), " pairs from ", files[0], " and ", files[1]));
    }
  }
  return bitexts;
}

// Different training sentences of both sides, in order: the English side occurs with every language.
std::vector<std::string> tokenizer_lines(const std::vector<RawBitext>& bitexts) {
  std::vector<std::string> lines;
  std::unordered_set<std::string_view> seen;
  for (const auto side : {&TextPair::first, &TextPair::second})
    for (const RawBitext& b : bitexts)
      for (const TextPair& p : b.splits[0])
        if (seen.insert(p.*side).second) lines.push_back(p.*side);
  return lines;
}

void print_sizes(const TranslationSource& corpus) {
  TextTable sizes({"pair", "train", "valid", "test", "extra", "tokens"});
  for (const Bitext& b : corpus.bitexts()) {
    std::vector<std::string> row = {b.name()};
    for (const auto& split : b.splits) row.push_back(concat(split[0].size()));
    row.push_back(concat(b.splits[0][0].tokens.size() + b.splits[0][1].tokens.size()));
    sizes.row(row);
  }
  std::cout << sizes.text();
}

void print_skipped(std::vector<RawBitext> raw, const Counts& total) {
  std::vector<std::string> titles = {"left out", "total"};
  for (const RawBitext& b : raw) titles.push_back(b.langs[0] + "-" + b.langs[1]);
  TextTable reasons(titles);
  for (const auto& [why, n] : total) {
    std::vector<std::string> row = {why, concat(n)};
    for (RawBitext& b : raw) row.push_back(concat(b.counts[why]));
    reasons.row(row);
  }
  if (!total.empty()) std::cout << "\n" << reasons.text();
}

void prepare(const PrepareConfig& config) {
  const bool catalogues = !config.gettext.empty();
  user_check(catalogues == config.train_prefix.empty(),
             "give one input: --gettext FOLDER or --train-prefix PREFIX");
  user_check(!catalogues || (config.valid_prefix + config.test_prefix + config.lang_pairs).empty(),
             "--valid-prefix, --test-prefix and --lang-pairs go with --train-prefix: catalogues "
             "are split by themselves, and pair English with each of --langs");
  user_check(config.threads >= 0 && config.threads <= 4096,
             concat("--threads ", config.threads, ": expected 0 to 4096"));
  const double coverage = config.tokenizer.character_coverage;
  user_check(coverage > 0.5 && coverage <= 1.0,
             concat("--character-coverage ", coverage, ": expected above 0.5, at most 1"));
  check_output(config.output);
  const std::vector<Pair> pairs = language_pairs(config);
  const std::vector<std::string> langs = token_languages(config, pairs);
  set_num_threads(config.threads > 0 ? int(config.threads)
                                     : std::max(1, int(std::thread::hardware_concurrency())));

  std::vector<std::string> others;  // than English
  for (const Pair& pair : pairs) others.push_back(pair[1]);
  const std::vector<RawBitext> raw =
      catalogues ? read_gettext(config.gettext, others, config.plain_test, progress)
                 : read_text(config, pairs);
  for (const RawBitext& b : raw)
    user_check(!b.splits[0].empty(),
               concat("no usable training pair for ", b.langs[0], "-", b.langs[1]));

  const std::vector<std::string> lines = tokenizer_lines(raw);
  progress(concat("training a ", config.tokenizer.model_type, " tokenizer of ",
                  config.tokenizer.vocabulary_size, " pieces on ", lines.size(), " sentences"));
  Counts skipped;
  const std::string model = train_sentencepiece(lines, config.tokenizer, skipped);
  const Tokenizer tokenizer(model, make_vocabulary(model, langs));
  progress("encoding");
  const TranslationSource corpus(config.output, langs, tokenizer, encode_bitexts(raw, tokenizer));
  for (const RawBitext& b : raw)
    for (const auto& [why, n] : b.counts) skipped[why] += n;
  PrepareConfig recorded = config;  // the file does not depend on these two
  recorded.threads = 0, recorded.output.clear();
  write_corpus(config.output, corpus, skipped, to_toml(option_list(recorded)));
  print_sizes(corpus);
  print_skipped(raw, skipped);
  const double megabytes = double(std::filesystem::file_size(config.output)) * 1e-6;
  std::cout << "\nvocabulary " << corpus.vocabulary_size() << ", checksum " << corpus.checksum()
            << "\nwrote " << config.output << " (" << fixed(megabytes, 1) << " MB)\n";
}

int run(const std::vector<std::string>& given) {
  std::vector<std::string> args = given;
  PrepareConfig config;
  OptionList list = option_list(config);
  const bool has_task = !args.empty() && !args[0].starts_with("-");
  if (has_task) {
    user_check(args[0] == "translation",
               concat("unknown task ", args[0], ": expected apps/prepare translation ..."));
    args.erase(args.begin());
  }
  for (size_t i = 0; i < args.size(); ++i)  // --gettext alone
    if (args[i] == "--gettext" && (i + 1 == args.size() || args[i + 1].starts_with("--")))
      args[i] = "--gettext=/usr/share/locale";
  const ParseResult parsed =
      parse_flags(list, args, "prepare", "Makes a corpus file: prepare translation [options]");
  std::cout << parsed.text;
  if (parsed.exit_code) return *parsed.exit_code;
  user_check(has_task, "expected a task: apps/prepare translation ...");
  if (!config.gettext.empty() && config.langs.empty()) config.langs = "fr,sv,da,eo";
  prepare(config);
  return 0;
}

}  // namespace
}  // namespace switchyard

int main(int argc, char** argv) {
  return switchyard::tool_main("prepare", argc, argv, switchyard::run);
}
