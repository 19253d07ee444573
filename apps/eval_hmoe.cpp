// Evaluate an HMoE checkpoint: loss and perplexity of a split by direction, translations by beam search,
// BLEU and chrF with signatures beside those of copying the source, hypotheses to files.
#include <filesystem>
#include <fstream>
#include <iostream>

#include "apps/common/load_model.h"
#include "apps/common/text_table.h"
#include "apps/common/translation_eval.h"

using namespace switchyard;

namespace {

struct EvalConfig {
  std::string path, data, source_lang, target_lang, gen_subset = "test",
                                                    scoring = "sacrebleu,chrf,bleu-pieces";
  std::string results_path, sacrebleu_tokenizer = "13a";
  int ranks = 0;
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

void write_lines(const std::string& file, const std::vector<std::string>& lines) {
  std::ofstream out(file);
  for (const std::string& line : lines) out << line << "\n";
  out.close();
  user_check(bool(out), "cannot write " + file);
}

void write_results(const EvalConfig& config, const std::string& direction,
                   const DirectionScores& s) {
  if (config.results_path.empty()) return;
  std::error_code error;
  std::filesystem::create_directories(config.results_path, error);
  const std::string stem = concat(config.results_path, "/", config.gen_subset, ".", direction);
  write_lines(stem + ".src", s.sources);
  write_lines(stem + ".ref", s.references);
  write_lines(stem + ".hyp", s.hypotheses);
}

std::string fixed(double x, int digits) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*f", digits, x);
  return text;
}

void evaluate(const EvalConfig& config, const StoredRun& run,
              const std::shared_ptr<const TranslationSource>& source, dist::Runtime& runtime) {
  const dist::Comm& world = runtime.world;
  const dist::Mesh mesh = make_hmoe_mesh(run.config, world);
  const auto model = load_model(run, mesh);
  const Split split = split_named(config.gen_subset);
  const int64_t max_tokens = config.max_tokens ? config.max_tokens : run.config.data.max_tokens;
  GenerateOptions options = config.generate;
  options.pad = kPad, options.eos = kEos,
  options.max_positions = run.config.data.max_target_positions;

  TextTable table(config.loss_only
                      ? std::vector<std::string>{"direction", "sentences", "loss", "nll", "ppl"}
                      : std::vector<std::string>{"direction", "sentences", "loss", "nll", "ppl",
                                                 "BLEU", "chrF2", "copy BLEU", "copy chrF2"});
  std::vector<std::string> lines;
  double sums[7] = {};
  const auto directions = chosen_directions(*source, config, run.config.data);
  for (int32_t d : directions) {
    const EvalBatches batches(source, run.config.data, split, d, max_tokens, config.batch_size,
                              world.rank(), world.size(),
                              {config.max_sentences, config.shuffle_sources});
    const ValidResult loss = evaluate_loss(*model, batches, criterion_options(run.config), world);
    const double n = std::max<double>(1, loss.targets) * 0.69314718055994530942,
                 nll = loss.nll_sum / n;
    const std::string name = source->directions()[size_t(d)].name();
    std::vector<std::string> row{name, std::to_string(batches.sentences()),
                                 fixed(loss.loss_sum / n, 4), fixed(nll, 4),
                                 fixed(std::exp2(nll), 2)};
    sums[0] += loss.loss_sum, sums[1] += loss.nll_sum, sums[2] += n;
    if (!config.loss_only) {
      const auto found = translate_batches(*model, *source, batches, options, world);
      if (world.rank() == 0) {
        const DirectionScores s =
            score_direction(*source, split, d, found, config.sacrebleu_tokenizer);
        write_results(config, name, s);
        for (double x : {s.bleu, s.chrf, s.copy_bleu, s.copy_chrf}) row.push_back(fixed(x, 2));
        sums[3] += s.bleu, sums[4] += s.chrf, sums[5] += s.copy_bleu, sums[6] += s.copy_chrf;
        if (config.scoring.find("sacrebleu") != std::string::npos)
          lines.push_back(name + " " + s.lines[0]);
        if (config.scoring.find("chrf") != std::string::npos)
          lines.push_back(name + " " + s.lines[1]);
        if (config.scoring.find("bleu-pieces") != std::string::npos)
          lines.push_back(name + " " + s.lines[2]);
      }
    }
    if (world.rank() == 0) table.row(row);
  }
  if (world.rank() != 0) return;
  std::vector<std::string> mean{"mean", "", fixed(sums[0] / sums[2], 4),
                                fixed(sums[1] / sums[2], 4),
                                fixed(std::exp2(sums[1] / sums[2]), 2)};
  for (int i = 3; i < 7 && !config.loss_only; ++i)
    mean.push_back(fixed(sums[i] / double(directions.size()), 2));
  table.row(mean);
  std::cout << "checkpoint " << run.folder << ", split " << config.gen_subset << " of "
            << source->origin() << "; loss and nll in bits per token\n"
            << table.text();
  for (const std::string& line : lines) std::cout << line << "\n";
}

}  // namespace

int main(int argc, char** argv) {
  EvalConfig config;
  StoredRun run;
  std::shared_ptr<const TranslationSource> source;
  return dist::run_main(
      argc, argv,
      [&](std::vector<std::string> args, int processes) -> dist::RunPlan {
        OptionList options = option_list(config);
        const ParseResult parsed =
            parse_flags(options, args, "eval_hmoe", "Evaluate an HMoE checkpoint.");
        if (parsed.exit_code) return {.exit_code = parsed.exit_code, .text = parsed.text};
        config.generate.validate();
        run = open_stored_run(config.path);
        run.config.hmoe.moe_eval_capacity_token_fraction = config.capacity_fraction;
        if (!config.data.empty()) run.config.data.data = config.data;
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
