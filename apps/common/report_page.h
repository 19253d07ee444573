// One HTML page that shows runs: scores, curves, expert load, time, traffic, options. Self-contained (CSS and SVG
// inside, no script, nothing fetched), under 2 MB however long the logs are.
#pragma once
#include "apps/common/heat_map.h"
#include "apps/common/report_style.h"
#include "apps/common/text_table.h"

namespace switchyard {
namespace report {

using namespace svg;
using Runs = std::vector<RunHistory>;

constexpr size_t kMaxRuns = 12;     // of a page
constexpr size_t kCells = 200'000;  // of all heat maps of a page

// One column for each run
inline std::string table(const Runs& runs, const std::string& title, const std::string& rows) {
  if (rows.empty()) return "";
  std::string head;
  for (size_t i = 0; i < runs.size(); ++i)
    head += concat("<th class='", color(i), "'><i></i>", html(runs[i].name));
  return concat("<div><h3>", title, "</h3><div class=wide><table><tr><th>", head, rows,
                "</table></div></div>\n");
}

// scores[row][column] of each run. better: the sign of a good difference, whose best is marked; 0 = none is best.
// "" if no run has this score
inline std::string score_row(const Runs& runs, const std::string& title, const std::string& row,
                             const std::string& column, int better, int decimals = -1) {
  std::string cells;
  std::vector<double> values;
  for (const RunHistory& run : runs)
    if (const double v = run.score(row, column); !std::isnan(v)) values.push_back(v);
  if (values.empty()) return "";
  const auto [low, high] = std::ranges::minmax(values);
  for (const RunHistory& run : runs) {
    const double v = run.score(row, column);
    const bool best = better != 0 && values.size() > 1 && v == (better < 0 ? low : high);
    cells += best ? "<td class=best>" : "<td>";
    cells += decimals < 0 || std::isnan(v) ? show(v) : fixed(v, decimals);
  }
  return "<tr><td>" + html(title) + cells;
}

inline std::string score_tables(const Runs& runs) {
  const std::string rows =
      score_row(runs, "best validation loss", "run", "best loss", -1, 4) +
      score_row(runs, "its nll", "run", "best nll_loss", -1, 4) +
      score_row(runs, "its perplexity", "run", "best ppl", -1, 2) +
      score_row(runs, "at update", "run", "best update", 0) +
      score_row(runs, "test perplexity", "mean", "ppl", -1, 2) +
      score_row(runs, "test BLEU", "mean", "BLEU", 1, 2) +
      score_row(runs, "test chrF2", "mean", "chrF2", 1, 2) +
      score_row(runs, "MFLOPs per token", "run", "millions of flops_per_token", -1, 2) +
      score_row(runs, "parameters, M", "run", "millions of parameters", 0, 2) +
      score_row(runs, "active, M", "run", "millions of active_parameters", 0, 2) +
      score_row(runs, "updates", "run", "updates", 0) +
      score_row(runs, "target tokens", "run", "tokens", 0) +
      score_row(runs, "tokens per second", "run", "tokens per second", 1) +
      score_row(runs, "peak MiB of a rank", "run", "peak MiB", -1);
  std::map<std::string, std::string> of_part = {{"directions", ""}, {"groups", ""}};
  for (auto& [part, part_rows] : of_part) {
    std::set<std::string> names;
    for (const RunHistory& run : runs)
      for (const auto& [name, scores] : run.scores)
        if (name.starts_with(part + "/")) names.insert(name);
    for (const std::string& name : names)
      part_rows += score_row(runs, name.substr(part.size() + 1), name, "BLEU", 1, 2);
  }
  return table(runs, "Scores", rows) + table(runs, "BLEU by direction", of_part["directions"]) +
         table(runs, "BLEU by group", of_part["groups"]);
}

// With several runs the options that differ; with one run all of them, folded.
inline std::string options_table(const Runs& runs) {
  std::map<std::string, bool> differs;
  for (const RunHistory& run : runs)
    for (const auto& [name, value] : run.config) differs[name] |= value != runs[0].option(name);
  for (const char* name : {"save-dir", "overwrite", "resume"}) differs.erase(name);
  std::string rows;
  for (const auto& [name, differ] : differs) {
    if (runs.size() > 1 && !differ) continue;
    rows += "<tr><td>" + html(name);
    for (const RunHistory& run : runs) rows += "<td>" + html(run.option(name));
  }
  if (runs.size() > 1) return table(runs, "Options that differ", rows);
  return "<details><summary>All options</summary>" + table(runs, "", rows) + "</details>";
}

inline std::string traffic_table(const RunHistory& run) {
  if (run.traffic.empty()) return "";
  double most = 1;
  for (const auto& [key, sent] : run.traffic) most = std::max(most, sent.at("bytes"));
  std::string rows;
  for (const auto& [key, sent] : run.traffic)
    rows += concat("<tr><td>", html(key.first), "<td>", html(key.second), "<td>",
                   show(sent.at("bytes") / run.updates),
                   "<td class='bar c0'><i style='width:", 100 * sent.at("bytes") / most,
                   "%'></i><td>", show(sent.at("carried_bytes") / run.updates), "<td>",
                   show(sent.at("messages") / run.updates));
  return "<h3>Communication of an update, all ranks</h3><div class=wide><table><tr><th>collective"
         "<th>level<th>bytes<th><th>between processes<th>messages" +
         rows + "</table></div>\n";
}

// The parts of an update's time on top of each other
inline std::string time_chart(const RunHistory& run) {
  std::vector<Line> lines;
  for (const std::string part : {"compute", "communication", "data"}) {
    Curve c = run.curve("train/ms/" + part);
    const double mean = std::accumulate(c.y.begin(), c.y.end(), 0.0) / double(c.y.size());
    for (size_t i = 0; !lines.empty() && i < std::min(c.y.size(), lines[0].curve.y.size()); ++i)
      c.y[i] += lines[0].curve.y[i];
    const std::string name = concat(part, " ", show(std::round(mean * 10) / 10));
    lines.insert(lines.begin(), {c, lines.size(), name, kArea});  // the highest is painted first
  }
  return line_chart("Time of an update", "ms, rank 0; means below", lines, kFromZero);
}

inline std::string overlaid_curves(const Runs& runs) {
  const bool several = runs.size() > 1;
  std::string out = "<h2>Training</h2><div class=grid>";
  const auto chart = [&](const std::string& key, const char* title, const char* note, Scale scale) {
    std::vector<Line> lines;
    for (size_t i = 0; i < runs.size(); ++i) {
      const Curve train = runs[i].curve("train/" + key), valid = runs[i].curve("valid/" + key);
      const bool both = !valid.x.empty();
      const std::string name = several ? runs[i].name : "training";
      lines.push_back({train, i, several && both ? "" : name, both ? kThin : kPlain});
      if (both) lines.push_back({valid, several ? i : 1, several ? name : "validation", kDots});
    }
    out += line_chart(title, note, lines, scale);
  };
  chart("loss", "Loss", "bits per target token", kLinear);
  chart("ppl", "Perplexity", "", kLog);
  chart("gnorm", "Gradient norm", "before clipping", kLog);
  chart("lr", "Learning rate", "", kFromZero);
  chart("tokens_per_second", "Throughput", "target tokens per second", kFromZero);
  chart("gate_loss", "Load-balancing loss", "1 = balanced", kLinear);
  chart("cmr_loss", "CMR budget loss", "", kLinear);
  chart("dropped", "Dropped choices", "% over capacity, all blocks", kFromZero);
  chart("rounds", "Rounds per token", "mean of all blocks", kLinear);
  return out + "</div>\n";
}

inline std::string run_section(const Runs& runs, size_t index) {
  const RunHistory& run = runs[index];
  std::string out = "<h2>Experts, time, communication</h2>\n";
  if (runs.size() > 1)
    out = "<h2 class='" + color(index) + "'><i></i>" + html(run.name) + "</h2>\n";
  if (run.updates < std::atof(run.option("max-update").c_str()))
    out += concat("<p>The log ends at update ", run.updates, " of ", html(run.option("max-update")),
                  ".</p>");
  if (run.unreadable > 0)
    out += concat("<p>Lines of the log that could not be read: ", run.unreadable, ".</p>");
  size_t experts = 1;  // of all heat maps of the page
  for (const RunHistory& r : runs)
    for (const auto& [name, b] : r.blocks) experts += b.choices.empty() ? 0 : b.choices[0].size();
  std::string heat;
  std::vector<Line> dropped, rounds;
  for (const auto& [name, block] : run.blocks) {
    heat += heat_map(run, name, std::clamp<size_t>(kCells / experts, 4, 64));
    dropped.push_back({run.curve(name + "/dropped"), dropped.size(), name});
    rounds.push_back({run.curve(name + "/rounds"), rounds.size(), name});
  }
  if (!heat.empty())
    out += "<h3>Expert load: first choices of an expert, as a multiple of an equal share</h3>" +
           heat_legend() + "<div class=grid>" + heat + "</div>\n";
  return out + "<h3>Blocks and time</h3><div class=grid>" +
         line_chart("Dropped choices by block", "% over capacity", dropped, kFromZero) +
         line_chart("Rounds per token by block", "mean", rounds, kLinear) + time_chart(run) +
         "</div>\n" + traffic_table(run);
}

inline std::string page(const Runs& runs) {  // 1..kMaxRuns
  const bool several = runs.size() > 1;
  const std::string title =
      several ? concat("Comparison of ", runs.size(), " runs") : html(runs[0].name);
  std::string out = concat(
      "<!DOCTYPE html><html lang=en><head><meta charset=utf-8><meta name=viewport "
      "content='width=device-width,initial-scale=1'><title>",
      title, "</title><style>", kReportStyle, "</style></head><body>\n<h1>", title,
      "</h1><p>Training report by Switchyard. Horizontal axes count updates, dots are validations, "
      "legends give last values.</p>\n<div class=tables>",
      score_tables(runs), options_table(runs), "</div>", overlaid_curves(runs));
  for (size_t i = 0; i < runs.size(); ++i) out += run_section(runs, i);
  return out + "</body></html>\n";
}

}  // namespace report
}  // namespace switchyard
