// Evaluate an HMoE checkpoint: loss and perplexity of a split by direction, translations by beam search,
// BLEU and chrF with signatures beside those of copying the source, hypotheses to files.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <numbers>

#include "apps/common/hmoe_app.h"
#include "apps/common/routing_report.h"
#include "apps/common/text_table.h"
#include "apps/common/translation_eval.h"

using namespace switchyard;

namespace {

struct EvalConfig {
  std::string path, data, source_lang, target_lang, gen_subset = "test", results_path;
  std::string scoring = "sacrebleu,chrf,bleu-pieces", sacrebleu_tokenizer = "13a";
  int ranks = 0;
  bool routing_report = false;
  int64_t batch_size = 100, max_tokens = 0, max_sentences = 0;
  double capacity_fraction = 1.0;
  bool loss_only = false, shuffle_sources = false;
  GenerateOptions generate;

  template <class V>
  void visit(V&& v) {
    v.group("Evaluation");
    v(path, "path", "checkpoint: a run folder (its best one) or a step folder");
    v(data, "data", "corpus; empty = the one the model was trained on");
    v(source_lang, "source-lang", "only directions from this language");
    v(target_lang, "target-lang", "only directions into this language");
    v(gen_subset, "gen-subset", "split", {"valid", "test", "extra"});
    v(scoring, "scoring", "comma list of sacrebleu, chrf, bleu-pieces: signature lines to print");
    v(sacrebleu_tokenizer, "sacrebleu-tokenizer", "tokeniser of BLEU",
      {"13a", "intl", "zh", "char", "none"});
    v(results_path, "results-path", "folder for <subset>.<direction>.{src,ref,hyp}");
    v(ranks, "ranks", "ranks R; 0 = one for each MPI process");
    v(routing_report, "routing-report",
      "tables of rounds, expert load, parameters, FLOPs per token; routing.json in --results-path");
    v(batch_size, "batch-size", "sentences of a batch");
    v(max_tokens, "max-tokens", "padded tokens of a batch; 0 = the training value");
    v(max_sentences, "max-sentences", "first sentences of each direction only; 0 = all");
    v(capacity_fraction, "moe-eval-capacity-token-fraction",
      "slots of an expert as a share of the rows; 1 = no drops");
    v(loss_only, "loss-only", "no translation");
    v(shuffle_sources, "shuffle-sources",
      "loss with each sentence's source replaced by another's: does the model read?");
    generate.visit(v);
    v.accepted("sentencepiece-model", "the checkpoint holds its tokenizer");
    v.accepted("is-moe", "every model may have experts");
    v.accepted("replication-count", "ranks and experts decide it");
  }
};

std::vector<int32_t> chosen_directions(const TranslationSource& source, const EvalConfig& config,
                                       const DataConfig& data) {
  for (const std::string& lang : {config.source_lang, config.target_lang})
    if (!lang.empty()) source.tokenizer().language_token(lang);  // UserError names the nearest
  std::vector<int32_t> chosen;
  for (int32_t d : selected_directions(source, data)) {
    const Direction& direction = source.directions()[size_t(d)];
    if ((config.source_lang.empty() || config.source_lang == direction.source) &&
        (config.target_lang.empty() || config.target_lang == direction.target))
      chosen.push_back(d);
  }
  user_check(!chosen.empty(), concat("no direction ", config.source_lang, "-", config.target_lang,
                                     " in ", source.origin()));
  return chosen;
}

void write_results(const EvalConfig& config, const std::string& direction,
                   const DirectionScores& found) {
  if (config.results_path.empty()) return;
  std::error_code error;  // shows again when the files cannot be written
  std::filesystem::create_directories(config.results_path, error);
  for (const auto& [ending, lines] : found.texts) {
    const std::string file =
        concat(config.results_path, "/", config.gen_subset, ".", direction, ".", ending);
    std::ofstream out(file);
    for (const std::string& line : lines) out << line << "\n";
    out.close();
    user_check(bool(out), "cannot write " + file);
  }
}

void evaluate(const EvalConfig& config, const StoredRun& run,
              const std::shared_ptr<const TranslationSource>& source, dist::Runtime& runtime) {
  const dist::Comm& world = runtime.world;
  const auto model = load_model(run, world);
  const Split split = split_named(config.gen_subset);

  std::vector<std::string> titles = {"direction", "sentences", "loss", "nll", "ppl"};
  if (!config.loss_only)
    for (const char* title : {"BLEU", "chrF2", "copy BLEU", "copy chrF2"}) titles.push_back(title);
  TextTable table(titles);
  const auto add_row = [&](const std::string& name, const std::string& sentences, const Sums& sums,
                           const std::map<std::string, double>& scores) {
    const double unit = std::numbers::ln2 * std::max(1.0, sums.at("tokens"));
    const double loss = sums.at("loss") / unit, nll = sums.at("nll_loss") / unit;  // bits
    std::vector<std::string> row = {name, sentences, fixed(loss, 4), fixed(nll, 4),
                                    fixed(std::exp2(nll), 2)};
    for (const auto& [title, score] : scores) row.push_back(fixed(score, 2));
    table.row(row);
  };

  Statistics routing;
  Sums total;
  std::map<std::string, double> means;
  std::string lines;
  const std::vector<int32_t> directions = chosen_directions(*source, config, run.config.data);
  for (int32_t d : directions) {
    const std::string name = source->directions()[size_t(d)].name();
    const EvalBatches batches(source, run.config.data, split, d, run.config.data.max_tokens,
                              config.batch_size, world.rank(), world.size(),
                              {config.max_sentences, config.shuffle_sources});
    const auto [losses, counted] =
        evaluate_loss(*model, batches, criterion_options(run.config), world);
    add_statistics(routing, counted);
    for (const auto& [what, sum] : losses) total[what] += sum;
    Translations translations;
    if (!config.loss_only)
      translations = translate_batches(*model, *source, batches, config.generate, world);
    if (world.rank() != 0) continue;
    DirectionScores found;
    if (!config.loss_only) {
      found = score_direction(*source, split, d, translations, config.sacrebleu_tokenizer);
      write_results(config, name, found);
      for (const std::string& scoring : split_list(config.scoring))
        lines += name + " " + found.lines.at(scoring) + "\n";
    }
    for (const auto& [title, score] : found.scores)
      means[title] += score / double(directions.size());
    add_row(name, std::to_string(batches.sentences()), losses, found.scores);
  }
  if (config.routing_report) routing = sum_over_ranks(world, routing);
  if (world.rank() != 0) return;
  add_row("mean", "", total, means);
  std::cout << "checkpoint " << run.folder << ", split " << config.gen_subset << " of "
            << source->origin() << "; loss and nll in bits per token\n"
            << table.text() << lines;
  if (config.routing_report) write_routing(run.config, *source, routing, config.results_path);
}

}  // namespace

int main(int argc, char** argv) {
  EvalConfig config;
  StoredRun run;
  std::shared_ptr<const TranslationSource> source;
  return dist::run_main(
      argc, argv,
      [&](std::vector<std::string> args, int processes) -> dist::RunPlan {
        const ParseResult parsed =
            parse_flags(option_list(config), args, "eval_hmoe", "Evaluate an HMoE checkpoint.");
        if (parsed.exit_code) return {.exit_code = parsed.exit_code, .text = parsed.text};
        for (const std::string& name : split_list(config.scoring))
          user_check(name == "sacrebleu" || name == "chrf" || name == "bleu-pieces",
                     "--scoring " + name + ": expected sacrebleu, chrf, bleu-pieces");
        run = open_stored_run(config.path, config.capacity_fraction, config.generate);
        if (!config.data.empty()) run.config.data.data = config.data;
        if (config.max_tokens > 0) run.config.data.max_tokens = config.max_tokens;
        if (config.ranks == 0) config.ranks = processes;
        moe::validate(run.config.hmoe, config.ranks);
        source = open_source(run.config.data, uint64_t(run.config.train.seed));
        user_check(
            source->tokenizer().vocabulary() == run.tokenizer->vocabulary(),
            concat(source->origin(), " has another vocabulary than the checkpoint ", run.folder));
        return {.ranks = config.ranks, .exit_code = {}};
      },
      [&](dist::Runtime& runtime) { evaluate(config, run, source, runtime); });
}
