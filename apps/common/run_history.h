// What a run folder says about its run, for apps/report: log.jsonl (keys in docs/formats.md) as curves over
// updates and sums over the run, config.toml, test scores. A run may have been killed or still go on: lines
// that cannot be read are counted, what is no number is left out.
#pragma once
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <vector>

#include "data/utf8.h"
#include "tensor/check.h"

namespace switchyard {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

struct Curve {
  std::vector<double> x, y;  // x = update, rising

  void add(double update, double value) {  // what is no finite number is left out
    if (!std::isfinite(value) || !(update >= (x.empty() ? 0 : x.back()))) return;
    x.push_back(update), y.push_back(value);
  }
};

struct ExpertLoad {
  std::vector<double> updates;
  std::vector<std::vector<double>> choices;  // [updates][experts] first choices
};

// As data flows: encoder first; layer 2 before layer 10
struct BlockOrder {
  bool operator()(const std::string& a, const std::string& b) const {
    const bool a_last = a.starts_with("decoder"), b_last = b.starts_with("decoder");
    return a_last != b_last ? b_last : strverscmp(a.c_str(), b.c_str()) < 0;
  }
};

class RunHistory {
 public:
  using json = nlohmann::json;

  template <class T>
  using Named = std::map<std::string, T>;

  std::string name;  // the folder's last part
  Named<Curve>
      curves;  // "train/loss", "valid/ppl", "train/ms/compute", "decoder/1/moe/rounds", ...
  std::map<std::string, ExpertLoad, BlockOrder> blocks;                  // "decoder/1/moe"
  std::map<std::pair<std::string, std::string>, Named<double>> traffic;  // by (collective, level)
  Named<std::string> config;
  Named<Named<double>> scores;  // of "directions/en-fr", "groups/high", "mean", "run": "BLEU", ...
  double updates = 0;
  int64_t unreadable = 0;  // lines of the log

  RunHistory() = default;
  // UserError if the folder has no log with at least one record
  explicit RunHistory(const std::string& folder) {
    namespace fs = std::filesystem;
    user_check(fs::is_directory(folder), "no run folder " + folder);
    const std::string file = folder + "/log.jsonl";
    std::ifstream log(file);
    user_check(log && fs::is_regular_file(file), folder + " is no run folder: it has no log.jsonl");
    name = fs::canonical(folder).filename().string();
    for (std::string line; std::getline(log, line);) try {
        add_record(json::parse(line));
      } catch (const json::exception&) {
        ++unreadable;
      }
    user_check(!curves.empty(), file + " holds no record: the run has logged nothing yet");
    summarize();
    read_config(folder + "/config.toml");
    read_scores(folder + "/translations/test.scores.json");
  }

  // Empty and NaN where there is none
  Curve curve(const std::string& key) const { return at(curves, key); }
  std::string option(const std::string& key) const { return at(config, key); }
  double score(const std::string& row, const std::string& metric) const {
    return at(at(scores, row), metric, kNaN);
  }

 private:
  template <class T>
  static T at(const Named<T>& map, const std::string& key, T otherwise = {}) {
    const auto found = map.find(key);
    return found == map.end() ? otherwise : found->second;
  }
  static double number(const json& v) {  // from 1e30 on: a log gone wrong, nothing to draw
    return v.is_number() && std::abs(v.get<double>()) < 1e30 ? v.get<double>() : kNaN;
  }
  static std::vector<double> counts(const json& list) {
    std::vector<double> values;
    for (const json& v : list) values.push_back(std::fmax(0, number(v)));
    return values;
  }
  static double sum(const std::vector<double>& v) {
    return std::accumulate(v.begin(), v.end(), 0.0);
  }

  void add_record(const json& r) {
    const std::string kind = r.at("kind");
    const double update = number(r.at("update"));
    const json nothing = json::object(), layers = r.value("layers", nothing);
    const json times = r.value("ms", nothing), sent = r.value("communication", nothing);
    for (const std::string key :
         {"update", "loss", "nll_loss", "ppl", "gate_loss", "cmr_loss", "lr", "gnorm", "tokens",
          "tokens_per_second", "peak_mib", "parameters", "active_parameters", "flops_per_token"})
      if (r.contains(key) && (key != "gate_loss" || !layers.empty()))  // dense: no gate
        curves[kind + "/" + key].add(update, number(r[key]));
    updates = std::fmax(updates, update);
    if (kind != "train") return;
    for (const auto& [part, ms] : times.items()) curves["train/ms/" + part].add(update, number(ms));
    for (const auto& [collective, levels] : sent.items())
      for (const auto& [level, counters] : levels.items())
        for (const char* what : {"messages", "bytes", "carried_bytes"})
          traffic[{collective, level}][what] += std::fmax(0, number(counters.value(what, json())));
    add_layers(update, layers);
  }

  // What was dropped (%) and the rounds per token, of each block and of all ("train"); expert loads
  void add_layers(double update, const json& layers) {
    Named<std::pair<double, double>> ratios;
    for (const auto& [path, first_choices] : layers.items()) {
      if (!path.ends_with("/first_choices")) continue;
      const std::string block = path.substr(0, path.rfind('/'));
      const auto of_block = [&](const char* what) {
        return counts(layers.value(block + what, json::array()));
      };
      const auto rounds = of_block("/rounds"), choices = counts(first_choices);
      for (const std::string& of : {block, std::string("train")}) {
        ratios[of + "/dropped"].first += 100 * sum(of_block("/over_capacity"));
        ratios[of + "/dropped"].second += sum(of_block("/asked"));
        if (rounds.size() != 2) continue;
        ratios[of + "/rounds"].first += rounds[0];
        ratios[of + "/rounds"].second += rounds[1];
      }
      ExpertLoad& load = blocks[block];
      if (choices.empty() || (!load.choices.empty() && choices.size() != load.choices[0].size()))
        continue;
      load.choices.push_back(choices);
      load.updates.push_back(update);
    }
    for (const auto& [key, ratio] : ratios) curves[key].add(update, ratio.first / ratio.second);
  }

  // Numbers for the table of scores; where validation was best: "best loss", ...
  void summarize() {
    Named<double>& s = scores["run"];
    const std::vector<double> loss = curve("valid/loss").y;
    const auto best = size_t(std::ranges::min_element(loss) - loss.begin());
    for (const std::string key : {"update", "loss", "nll_loss", "ppl"})
      if (const Curve c = curve("valid/" + key); best < c.y.size()) s["best " + key] = c.y[best];
    s["updates"] = updates;
    const Curve tokens = curve("train/tokens"), speed = curve("train/tokens_per_second");
    double seconds = 0;
    for (size_t i = 0; i < std::min(tokens.y.size(), speed.y.size()); ++i)
      if (speed.y[i] > 0) seconds += tokens.y[i] / speed.y[i];
    s["tokens"] = sum(tokens.y);
    for (const std::string key : {"parameters", "active_parameters", "flops_per_token"})
      for (const double v : curve("valid/" + key).y) s["millions of " + key] = v / 1e6;  // the last
    s["tokens per second"] = s["tokens"] / seconds;
    for (const double mib : curve("train/peak_mib").y)
      s["peak MiB"] = std::fmax(s["peak MiB"], mib);
  }

  void read_config(const std::string& file) {
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);)
      if (const size_t at = line.find(" = "); at != line.npos && line[0] != '#') {
        std::string& value = config[line.substr(0, at)] = line.substr(at + 3);
        std::erase(value, '"');
      }
  }

  // What eval_hmoe left with --results-path RUN_DIR/translations; none if there is no such file
  void read_scores(const std::string& file) try {
    std::ifstream in(file);
    if (!in) return;
    const json all = json::parse(in);
    const auto add = [&](const std::string& row, const json& numbers) {
      for (const auto& [column, v] : numbers.items())
        if (v.is_number()) scores[row][column] = v;
    };
    for (const std::string part : {"directions", "groups"})
      for (const auto& [key, numbers] : all.at(part).items()) add(part + "/" + key, numbers);
    add("mean", all.at("mean"));
  } catch (const json::exception& error) {
    throw UserError(concat(file, " cannot be read: ", error.what()));
  }
};

}  // namespace switchyard
