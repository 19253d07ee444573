// What the tokens of a model did: rounds per token by block, direction and language, load of the experts by
// stratum, drops; and what that costs. A function of the counters that a forward pass collects
// (moe/balance.h), so a log record's "layers" can be reported as well as an evaluation. Keys: docs/formats.md.
#pragma once
#include "apps/common/hmoe_app.h"
#include "apps/common/model_cost.h"
#include "apps/common/text_table.h"

namespace switchyard {

// What a log record says of the cost of a token that was routed like those of `layers`.
inline nlohmann::json cost_summary(const HmoeAppConfig& c, int64_t vocabulary,
                                   const Statistics& layers) {
  const Cost cost =
      total(model_cost(c.model, c.hmoe, vocabulary, measured_use(c.model, c.hmoe, layers)));
  return {{"parameters", int64_t(cost.parameters)},
          {"active_parameters", cost.active},
          {"flops_per_token", cost.flops}};
}

// a / b, 0 when nothing was counted
inline double share(double a, double b) { return b > 0 ? a / b : 0; }

// One block: its counters are those of `s` under `path`.
inline nlohmann::json block_report(const moe::HmoeConfig& hmoe, const std::string& path,
                                   const std::vector<Direction>& directions, const Statistics& s) {
  const auto counted = [&](const char* name, size_t size) {
    const auto found = s.find(path + "/" + name);
    std::vector<double> values;
    if (found != s.end()) values = found->second;
    values.resize(std::max(size, values.size()));
    return values;
  };
  using Pair = std::array<double, 2>;  // token rounds, tokens
  std::map<std::string, Pair> by_direction, by_language;
  const std::vector<double> groups = counted("rounds_by_group", 2 * directions.size());
  for (size_t d = 0; d < directions.size(); ++d) {
    if (groups[2 * d + 1] == 0) continue;
    const bool decoder = path.starts_with("decoder");
    const std::string& language = decoder ? directions[d].target : directions[d].source;
    for (Pair* sum : {&by_direction[directions[d].name()], &by_language[language]})
      for (size_t i : {0, 1}) (*sum)[i] += groups[2 * d + i];
  }
  const auto means = [](const std::map<std::string, Pair>& sums) {
    nlohmann::json m = nlohmann::json::object();
    for (const auto& [name, sum] : sums) m[name] = share(sum[0], sum[1]);
    return m;
  };

  const std::vector<double> served = counted("tokens_per_expert", size_t(hmoe.moe_expert_count));
  const double all = std::accumulate(served.begin(), served.end(), 0.0);
  nlohmann::json strata = nlohmann::json::array();
  size_t first = 0;
  for (const int64_t size : hmoe.strata()) {
    const std::vector<double> rows(served.begin() + first, served.begin() + first + size);
    const double sum = std::accumulate(rows.begin(), rows.end(), 0.0);
    std::vector<double> shares;
    for (double r : rows) shares.push_back(share(r, sum));
    strata.push_back({{"first_expert", first},
                      {"share", share(sum, all)},
                      {"experts", shares},
                      {"max_over_mean", std::ranges::max(shares) * double(size)}});
    first += size_t(size);
  }
  const auto rounds = counted("rounds", 2), asked = counted("asked", 2),
             dropped = counted("over_capacity", 2);
  return {{"path", path},
          {"tokens", rounds[1]},
          {"rounds_per_token", share(rounds[0], rounds[1])},
          {"experts_per_token", share(all, rounds[1])},
          {"tokens_per_round", counted("tokens_per_round", hmoe.strata().size())},
          {"dropped", {share(dropped[0], asked[0]), share(dropped[1], asked[1])}},
          {"rounds_by_direction", means(by_direction)},
          {"rounds_by_language", means(by_language)},
          {"strata", strata}};
}

// directions: those of the corpus, in its order; s: summed over ranks
inline nlohmann::json routing_report(const HmoeAppConfig& c, int64_t vocabulary,
                                     const std::vector<Direction>& directions,
                                     const Statistics& s) {
  nlohmann::json r = cost_summary(c, vocabulary, s), parts;
  const ModelUse use = measured_use(c.model, c.hmoe, s);
  for (const auto& [part, cost] : model_cost(c.model, c.hmoe, vocabulary, use))
    parts[part] = {{"parameters", int64_t(cost.parameters)},
                   {"active_parameters", cost.active},
                   {"flops_per_token", cost.flops}};
  r["parts"] = parts;
  r["attention_flops_per_key"] = attention_flops_per_key(c.model);
  HmoeAppConfig dense = c;
  dense.hmoe.moe_type = "dense";
  r["dense"] = cost_summary(dense, vocabulary, {});
  r["blocks"] = nlohmann::json::array();
  for (const std::string& path : moe_paths(c.model, c.hmoe))
    r["blocks"].push_back(block_report(c.hmoe, path, directions, s));
  return r;
}

// The report as tables for people.
inline std::string routing_text(const nlohmann::json& r) {
  const auto percent = [](const nlohmann::json& x) { return fixed(100 * x.get<double>(), 1); };
  const auto millions = [](const nlohmann::json& x) { return fixed(x.get<double>() / 1e6, 3); };
  std::string text;
  // One row for each name under `key` of any block, one column for each block.
  const auto rounds_table = [&](const char* title, const char* key) {
    std::vector<std::string> titles = {title};
    std::map<std::string, std::vector<std::string>> rows;
    for (const auto& b : r["blocks"])
      for (const auto& [name, mean] : b[key].items()) rows[name] = {name};
    for (const auto& b : r["blocks"]) {
      const std::string path = b["path"];
      titles.push_back(path.substr(0, path.rfind('/')));
      for (auto& [name, row] : rows)
        row.push_back(b[key].contains(name) ? fixed(b[key][name].get<double>(), 3) : "-");
    }
    TextTable table(titles);
    for (const auto& [name, row] : rows) table.row(row);
    text += table.text() + "\n";
  };
  if (!r["blocks"].empty()) {
    text += "\nRequested capacity: mean rounds per token, padding left out\n";
    rounds_table("direction", "rounds_by_direction");
    text += "The same by language: of the source in the encoder, of the target in the decoder\n";
    rounds_table("language", "rounds_by_language");

    text += "Of all positions, padding included\n";
    TextTable blocks({"block", "positions", "rounds", "experts", "dropped 1st %", "2nd %"});
    TextTable load({"block", "stratum", "rows %", "max/mean", "share of its experts %"});
    for (const auto& b : r["blocks"]) {
      blocks.row({b["path"], fixed(b["tokens"].get<double>(), 0),
                  fixed(b["rounds_per_token"].get<double>(), 3),
                  fixed(b["experts_per_token"].get<double>(), 3), percent(b["dropped"][0]),
                  percent(b["dropped"][1])});
      int stratum = 0;
      for (const auto& s : b["strata"]) {
        std::string shares;
        for (const auto& e : s["experts"]) shares += (shares.empty() ? "" : " ") + percent(e);
        load.row({b["path"], std::to_string(stratum++), percent(s["share"]),
                  fixed(s["max_over_mean"].get<double>(), 2), shares});
      }
    }
    text += blocks.text() + "\n" + load.text() + "\n";
  } else {
    text += "\nNo block has experts.\n";
  }

  TextTable cost({"cost, in millions", "parameters", "active", "FLOPs per token"});
  const auto cost_row = [&](const std::string& name, const nlohmann::json& c) {
    cost.row({name, millions(c["parameters"]), millions(c["active_parameters"]),
              millions(c["flops_per_token"])});
  };
  for (const auto& [part, c] : r["parts"].items()) cost_row(part, c);
  cost_row("all", r);
  cost_row("dense of the same sizes", r["dense"]);
  return text + cost.text() +
         "A token is one source and one target position, 2 FLOPs per weight, forward; attention "
         "adds " +
         millions(r["attention_flops_per_key"]) +
         " M for each key.\nactive: an expert counts at each of the token's applications of it\n";
}

}  // namespace switchyard
