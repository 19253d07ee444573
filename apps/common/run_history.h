// What a run folder says about its run, for apps/report: log.jsonl (keys in docs/formats.md) as curves over
// updates and sums over the run, config.toml, scores.txt. A run may have been killed or still go on: lines
// that cannot be read are counted, numbers that are null become gaps.
#pragma once
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <regex>
#include <string>
#include <vector>

#include "data/utf8.h"
#include "tensor/check.h"

namespace switchyard {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

struct Curve {
  std::vector<double> x, y;  // x = update, rising; y is NaN where the log has no finite number

  void add(double update, double value) {
    if (!(update >= (x.empty() ? 0 : x.back()))) return;
    x.push_back(update), y.push_back(std::isfinite(value) ? value : kNaN);
  }
};

struct BlockHistory {
  Curve dropped, rounds;  // % of choices over capacity; rounds per token
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

struct Traffic {
  double messages = 0, bytes = 0, carried_bytes = 0;
};

class RunHistory {
 public:
  using json = nlohmann::json;

  std::string name;                     // the folder's last part
  std::map<std::string, Curve> curves;  // "train/loss", "valid/ppl", "train/ms/compute", ...
  std::map<std::string, BlockHistory, BlockOrder> blocks;          // "decoder/1/moe"
  std::map<std::pair<std::string, std::string>, Traffic> traffic;  // by (collective, level)
  std::map<std::string, std::string> config;
  std::map<std::string, std::map<std::string, double>> scores;  // of "en-fr", "mean": "BLEU", ...
  double updates = 0, tokens = 0, seconds = 0, peak_mib = kNaN;
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
    read_config(folder + "/config.toml");
    read_scores(folder + "/scores.txt");
  }

  // Empty and NaN where there is none
  Curve curve(const std::string& key) const { return at(curves, key); }
  std::string option(const std::string& key) const { return at(config, key); }
  double score(const std::string& row, const std::string& metric) const {
    return at(at(scores, row), metric, kNaN);
  }

 private:
  template <class T>
  static T at(const std::map<std::string, T>& map, const std::string& key, T otherwise = {}) {
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
         {"loss", "nll_loss", "ppl", "gate_loss", "cmr_loss", "lr", "gnorm", "tokens_per_second"})
      if (r.contains(key) && (key != "gate_loss" || !layers.empty()))  // a dense model has no gate
        curves[kind + "/" + key].add(update, number(r[key]));
    updates = std::fmax(updates, update);
    if (kind != "train") return;
    for (const auto& [part, ms] : times.items()) curves["train/ms/" + part].add(update, number(ms));
    const double count = number(r.value("tokens", json()));
    const double speed = number(r.value("tokens_per_second", json()));
    if (count > 0) tokens += count;
    if (count > 0 && speed > 0) seconds += count / speed;
    peak_mib = std::fmax(peak_mib, number(r.value("peak_mib", json())));
    for (const auto& [collective, levels] : sent.items())
      for (const auto& [level, v] : levels.items()) {
        Traffic& t = traffic[{collective, level}];
        t.messages += v.value("messages", 0.0);
        t.bytes += v.value("bytes", 0.0);
        t.carried_bytes += v.value("carried_bytes", 0.0);
      }
    add_layers(update, layers);
  }

  void add_layers(double update, const json& layers) {
    double asked = 0, over = 0, rounds = 0, tokens = 0;  // of all blocks
    for (const auto& [path, first_choices] : layers.items()) {
      if (!path.ends_with("/first_choices")) continue;
      const std::string block_name = path.substr(0, path.rfind('/'));
      const auto of_block = [&](const char* what) {
        return counts(layers.value(block_name + what, json::array()));
      };
      BlockHistory& block = blocks[block_name];
      const double asked_here = sum(of_block("/asked")),
                   over_here = sum(of_block("/over_capacity"));
      asked += asked_here, over += over_here;
      block.dropped.add(update, 100 * over_here / asked_here);
      if (const auto r = of_block("/rounds"); r.size() == 2) {
        block.rounds.add(update, r[0] / r[1]);
        rounds += r[0], tokens += r[1];
      }
      const std::vector<double> choices = counts(first_choices);
      if (choices.empty() || (!block.choices.empty() && choices.size() != block.choices[0].size()))
        continue;
      block.choices.push_back(choices);
      block.updates.push_back(update);
    }
    if (asked > 0) curves["train/dropped"].add(update, 100 * over / asked);
    if (tokens > 0) curves["train/rounds"].add(update, rounds / tokens);
  }

  void read_config(const std::string& file) {
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);)
      if (const size_t at = line.find(" = "); at != line.npos && line[0] != '#') {
        std::string& value = config[line.substr(0, at)] = line.substr(at + 3);
        std::erase(value, '"');
      }
  }

  // The table of eval_hmoe: columns two blanks apart, aligned at the right; "mean" lacks one cell.
  void read_scores(const std::string& file) {
    const std::regex gap(" {2,}");
    std::ifstream in(file);
    std::vector<std::string> titles;
    for (std::string line; std::getline(in, line);) {
      const std::vector<std::string> cells{
          std::sregex_token_iterator(line.begin(), line.end(), gap, -1), {}};
      if (cells[0] == "direction") titles = cells;
      else if (cells.size() > 1 && cells.size() + 1 >= titles.size())
        for (size_t i = 1; i < std::min(cells.size(), titles.size()); ++i)
          scores[cells[0]][titles[titles.size() - i]] = std::atof(cells[cells.size() - i].c_str());
    }
  }
};

}  // namespace switchyard
