// Evaluate an HMoE checkpoint: loss and perplexity of a split by direction, translations by beam search,
// BLEU and chrF with signatures beside those of copying the source, averages by resource group, hypotheses and
// scores to files.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <numbers>

#include "apps/common/direction_groups.h"
#include "apps/common/hmoe_app.h"
#include "apps/common/routing_report.h"
#include "apps/common/text_table.h"
#include "apps/common/translation_eval.h"

using namespace switchyard;

namespace {

struct EvalConfig {
  std::string path, data, source_lang, target_lang, gen_subset = "test", results_path;
  std::string scoring = "sacrebleu,chrf,chrf++,bleu-pieces", resource_groups = "auto";
  std::string device = "auto", precision = "fp32";
  int ranks = 0;
  bool routing_report = false;
  int64_t batch_size = 100, max_tokens = 0, max_sentences = 0;
  double capacity_fraction = 1.0;
  bool loss_only = false, shuffle_sources = false;
  ScoringOptions score;
  GenerateOptions generate;

  template <class V>
  void visit(V&& v) {
    v.group("Evaluation");
    v(path, "path", "checkpoint: a run folder (its best one) or a step folder");
    v(data, "data", "corpus; empty = the one the model was trained on");
    v(source_lang, "source-lang", "only directions from this language");
    v(target_lang, "target-lang", "only directions into this language");
    v(gen_subset, "gen-subset", "split", {"valid", "test", "extra"});
    v(scoring, "scoring",
      "comma list of sacrebleu, spbleu, chrf, chrf++, bleu-pieces: signature lines to print");
    v(resource_groups, "resource-groups", kResourceGroupsHelp);
    v(results_path, "results-path",
      "folder for <subset>.<direction>.{src,ref,hyp} and <subset>.scores.json");
    v(ranks, "ranks", "ranks R; 0 = one for each MPI process");
    v(device, "device", kDeviceHelp, {"auto", "cpu", "cuda"});
    v(precision, "precision,dtype", kPrecisionHelp, {"fp32", "bf16"});
    v(routing_report, "routing-report",
      "tables of rounds, expert load, parameters, FLOPs per token; <subset>.routing.json");
    v(batch_size, "batch-size", "sentences of a batch");
    v(max_tokens, "max-tokens", "padded tokens of a batch; 0 = the training value");
    v(max_sentences, "max-sentences", "first sentences of each direction only; 0 = all");
    v(capacity_fraction, "moe-eval-capacity-token-fraction",
      "slots of an expert as a share of the rows; 1 = no drops");
    v(loss_only, "loss-only", "no translation");
    v(shuffle_sources, "shuffle-sources",
      "loss with each sentence's source replaced by another's: does the model read?");
    generate.visit(v);
    score.visit(v);
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

// Losses and scores of a direction, or of a group: losses of all its tokens, scores as means over directions.
struct Result {
  std::string name;
  int64_t sentences = 0;
  Sums sums = {};
  std::vector<std::pair<std::string, double>> scores = {};

  double bits(const char* what) const {  // per token
    return sums.at(what) / (std::numbers::ln2 * std::max(1.0, sums.at("tokens")));
  }
  nlohmann::ordered_json json() const {
    nlohmann::ordered_json all = {{"sentences", sentences},
                                  {"tokens", int64_t(sums.at("tokens"))},
                                  {"loss", bits("loss")},
                                  {"nll_loss", bits("nll_loss")},
                                  {"ppl", std::exp2(bits("nll_loss"))}};
    for (const auto& [title, score] : scores) all[title] = score;
    return all;
  }
};

Result mean_of(const std::string& name, const std::vector<int32_t>& directions,
               const std::map<int32_t, Result>& results) {
  Result mean{.name = name};
  for (int32_t d : directions) {
    const Result& one = results.at(d);
    mean.sentences += one.sentences;
    for (const auto& [what, sum] : one.sums) mean.sums[what] += sum;
    if (mean.scores.empty()) mean.scores = one.scores;
    else
      for (size_t i = 0; i < one.scores.size(); ++i) mean.scores[i].second += one.scores[i].second;
  }
  for (auto& [title, score] : mean.scores) score /= double(directions.size());
  return mean;
}

void write_result(const EvalConfig& config, const std::string& ending, const std::string& text) {
  if (config.results_path.empty()) return;
  std::error_code error;  // shows again when the files cannot be written
  std::filesystem::create_directories(config.results_path, error);
  const std::string file = concat(config.results_path, "/", config.gen_subset, ".", ending);
  std::ofstream out(file);
  out << text;
  out.close();
  user_check(bool(out), "cannot write " + file);
}

// All of an evaluation in one file (docs/formats.md), for comparisons.
void write_scores(EvalConfig config, const StoredRun& run, const TranslationSource& source,
                  const std::map<int32_t, Result>& results,
                  const std::vector<DirectionGroup>& groups, const Result& mean,
                  const std::map<std::string, std::string>& signatures) {
  nlohmann::ordered_json all = {{"schema", 1},
                                {"checkpoint", run.folder},
                                {"data", source.origin()},
                                {"checksum", source.checksum()},
                                {"split", config.gen_subset},
                                {"signatures", signatures}};
  for (const Option& option : option_list(config).options)
    if (option.print) all["options"][option.names[0]] = option.print();
  for (const auto& [d, result] : results) {
    auto& direction = all["directions"][result.name] = result.json();
    direction["train_sentences"] = source.size(Split::Train, d);
  }
  all["groups"] = nlohmann::ordered_json::object();
  for (const DirectionGroup& group : groups) {
    auto& entry = all["groups"][group.name] = mean_of("", group.directions, results).json();
    for (int32_t d : group.directions) entry["directions"].push_back(results.at(d).name);
  }
  all["mean"] = mean.json();
  write_result(config, "scores.json", all.dump(1) + "\n");
}

void evaluate(const EvalConfig& config, const StoredRun& run,
              const std::shared_ptr<const TranslationSource>& source, dist::Runtime& runtime) {
  const dist::Comm& world = runtime.world;
  const auto model = load_model(run, runtime);
  const Split split = split_named(config.gen_subset);
  Statistics routing;
  const std::vector<int32_t> directions = chosen_directions(*source, config, run.config.data);
  std::map<int32_t, Result> results;
  std::map<std::string, std::string> signatures;
  std::string lines, group_lines;
  for (int32_t d : directions) {
    const std::string name = source->directions()[size_t(d)].name();
    const EvalBatches batches(source, run.config.data, split, d, run.config.data.max_tokens,
                              config.batch_size, world.rank(), world.size(),
                              {config.max_sentences, config.shuffle_sources});
    const ValidResult valid = evaluate_loss(*model, batches, criterion_options(run.config), world);
    results[d] = {name, batches.sentences(), valid.sums};
    add_statistics(routing, valid.statistics);
    Translations translations;
    if (!config.loss_only)
      translations = translate_batches(*model, *source, batches, config.generate, world);
    if (world.rank() != 0 || config.loss_only) continue;
    DirectionScores found = score_direction(*source, split, d, translations, config.score);
    for (const auto& [ending, texts] : found.texts) {
      std::string text;
      for (const std::string& line : texts) text += line + "\n";
      write_result(config, concat(name, ".", ending), text);
    }
    for (const std::string& scoring : split_list(config.scoring))
      lines += name + " " + found.lines.at(scoring == "spbleu" ? "sacrebleu" : scoring) + "\n";
    const std::string warning = tokenised_warning(found.texts["hyp"]);
    if (!config.score.force && !warning.empty()) std::cerr << name << ": " << warning << "\n";
    results[d].scores = found.scores;
    signatures = found.signatures;
  }
  if (config.routing_report) routing = sum_over_ranks(world, routing);
  if (world.rank() != 0) return;

  std::vector<DirectionGroup> groups = resource_groups(*source, directions, config.resource_groups);
  for (const DirectionGroup& group : groups) {
    group_lines += group.name + ":";
    for (int32_t d : group.directions)
      group_lines += concat(" ", results[d].name, " ", source->size(Split::Train, d), ",");
    group_lines.back() = '\n';
  }
  for (const DirectionGroup& group : groups_by_side(*source, directions, groups))
    groups.push_back(group);
  const Result mean = mean_of("mean", directions, results);
  std::vector<std::string> titles = {"direction", "sentences", "loss", "nll", "ppl"};
  for (const auto& [title, score] : mean.scores) titles.push_back(title);
  TextTable table(titles);
  const auto add_row = [&](const Result& r, const std::string& sentences) {
    std::vector<std::string> row = {r.name, sentences, fixed(r.bits("loss"), 4),
                                    fixed(r.bits("nll_loss"), 4),
                                    fixed(std::exp2(r.bits("nll_loss")), 2)};
    for (const auto& [title, score] : r.scores) row.push_back(fixed(score, config.score.width));
    table.row(row);
  };
  for (int32_t d : directions) add_row(results[d], std::to_string(results[d].sentences));
  for (const DirectionGroup& group : groups)
    add_row(mean_of(group.name, group.directions, results), "");
  add_row(mean, "");
  if (!config.loss_only) write_scores(config, run, *source, results, groups, mean, signatures);
  std::cout << "checkpoint " << run.folder << ", split " << config.gen_subset << " of "
            << source->origin() << "; loss and nll in bits per token\n";
  if (!group_lines.empty()) std::cout << "groups, with training sentences:\n" << group_lines;
  std::cout << table.text() << lines;
  if (config.routing_report) {
    const nlohmann::json report =
        routing_report(run.config, source->vocabulary_size(), source->directions(), routing);
    std::cout << routing_text(report);
    write_result(config, "routing.json", report.dump(1) + "\n");
  }
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
          user_check(contains({"sacrebleu", "spbleu", "chrf", "chrf++", "bleu-pieces"}, name),
                     concat("--scoring ", name,
                            ": expected sacrebleu, spbleu, chrf, chrf++, bleu-pieces"));
        user_check(!contains(split_list(config.scoring), "spbleu") ||
                       config.score.tokenize.starts_with("spm-"),
                   "--scoring spbleu needs --tokenize spm-NAME and --spm-model FILE");
        config.score.prepare();
        run = open_stored_run(config.path, config.capacity_fraction, config.precision,
                              config.generate);
        if (!config.data.empty()) run.config.data.data = config.data;
        if (config.max_tokens > 0) run.config.data.max_tokens = config.max_tokens;
        if (config.ranks == 0) config.ranks = processes;
        moe::validate(run.config.hmoe, config.ranks);
        source = open_source(run.config.data, uint64_t(run.config.train.seed));
        user_check(
            source->tokenizer().vocabulary() == run.tokenizer->vocabulary(),
            concat(source->origin(), " has another vocabulary than the checkpoint ", run.folder));
        resource_groups(*source, chosen_directions(*source, config, run.config.data),
                        config.resource_groups);  // UserErrors, before the work
        return {.ranks = config.ranks, .exit_code = {}, .device = config.device};
      },
      [&](dist::Runtime& runtime) { evaluate(config, run, source, runtime); });
}
