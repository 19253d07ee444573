// Score translations of any system against references: BLEU, chrF and chrF++ as sacreBLEU computes them.
//   apps/score --ref FILE [--ref FILE] [options] HYPOTHESES...
// One file gives result lines with signatures; several give a table, then the signatures.
#include <iostream>
#include <set>

#include "apps/common/flags.h"
#include "apps/common/scoring.h"
#include "apps/common/text_table.h"

namespace switchyard {
namespace {

struct ScoreConfig {
  std::vector<std::string> hypotheses, refs;
  std::string metrics = "bleu,chrf,chrf++";
  bool sentence_level = false, score_only = false;
  ScoringOptions scoring;

  template <class V>
  void visit(V&& v) {
    v.group("Score");
    v.arguments(hypotheses, "HYPOTHESES", "files of translations, a sentence a line");
    v(refs, "ref,refs", "file of references, line by line the same sentences; repeat it for more");
    v(metrics, "metrics", "comma list of bleu, chrf, chrf++");
    v(sentence_level, "sentence-level", "scores of each line, BLEU with effective order");
    v(score_only, "score-only", "print numbers only");
    scoring.visit(v);
  }

  void prepare() {
    user_check(!hypotheses.empty() && !refs.empty(),
               "give --ref FILE and a file to score; see --help");
    const bool one = hypotheses.size() == 1;
    user_check(one || !sentence_level, "--sentence-level takes one file to score");
    user_check(one || !score_only, "--score-only takes one file to score");
    std::set<std::string> chosen;
    for (const std::string& name : split_list(metrics)) {
      user_check(contains(kMetrics, name),
                 concat("--metrics: '", name, "' is not one of ", join(kMetrics, ", ")));
      user_check(chosen.insert(name).second, concat("--metrics names ", name, " twice"));
    }
    user_check(!chosen.empty(), "--metrics is empty");
    user_check(std::set(hypotheses.begin(), hypotheses.end()).size() == hypotheses.size(),
               "a file to score is given twice");
    const ScoringOptions& s = scoring;
    user_check(chosen.contains("bleu") ||
                   (s.tokenize == "13a" && s.smooth_method == "exp" && !s.lowercase && !s.force),
               "--tokenize, --smooth-method, --lowercase and --force need bleu in --metrics");
    user_check(chosen.size() > chosen.count("bleu") ||
                   !(s.chrf_lowercase || s.chrf_whitespace || s.chrf_eps_smoothing),
               "options of chrF need chrf or chrf++ in --metrics");
    scoring.prepare();
  }
};

int run(const std::vector<std::string>& args) {
  ScoreConfig config;
  const ParseResult parsed =
      parse_flags(option_list(config), args, "score", "Score translations of any system.");
  std::cout << parsed.text;
  if (parsed.exit_code) return *parsed.exit_code;
  config.prepare();
  const std::vector<std::string> metrics = split_list(config.metrics);

  std::vector<Lines> references;  // of each segment
  for (const std::string& file : config.refs) {
    const Lines lines = read_lines(file);
    if (references.empty()) references.resize(lines.size());
    user_check(lines.size() == references.size(),
               concat("unequal line counts: ", config.refs[0], " has ", references.size(), ", ",
                      file, " has ", lines.size()));
    for (size_t i = 0; i < lines.size(); ++i) references[i].push_back(lines[i]);
  }
  std::vector<Lines> systems;
  for (const std::string& file : config.hypotheses) {
    systems.push_back(read_lines(file));
    user_check(systems.back().size() == references.size(),
               concat("unequal line counts: ", config.refs[0], " has ", references.size(), ", ",
                      file, " has ", systems.back().size()));
    const std::string warning = tokenised_warning(systems.back());
    if (!warning.empty() && !config.scoring.force && contains(metrics, "bleu"))
      std::cerr << file << ": " << warning << "\n";
  }

  const auto print = [&](const MetricScore& score) {
    std::cout << (config.score_only ? fixed(score.value, config.scoring.width) : score.text)
              << "\n";
  };
  if (config.sentence_level) {
    for (size_t i = 0; i < references.size(); ++i)
      for (const std::string& metric : metrics)
        print(score_lines(metric, {systems[0][i]}, {references[i]}, config.scoring, true));
    return 0;
  }
  std::vector<std::string> titles = {"system"};
  std::vector<std::vector<std::string>> rows;
  std::string signatures;
  for (size_t i = 0; i < systems.size(); ++i) {
    rows.push_back({config.hypotheses[i]});
    for (const std::string& metric : metrics) {
      const MetricScore score = score_lines(metric, systems[i], references, config.scoring);
      if (systems.size() == 1) print(score);
      rows.back().push_back(fixed(score.value, config.scoring.width));
      if (i > 0) continue;
      titles.push_back(score.name);
      signatures += concat(score.name, "|", score.signature, "\n");
    }
  }
  if (systems.size() == 1) return 0;
  TextTable table(titles);
  for (const auto& row : rows) table.row(row);
  std::cout << table.text() << signatures;
  return 0;
}

}  // namespace
}  // namespace switchyard

int main(int argc, char** argv) {
  return switchyard::tool_main("score", argc, argv, switchyard::run);
}
