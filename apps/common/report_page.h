// One HTML page that shows runs: scores, curves, expert load, time, traffic, options. Self-contained (CSS and SVG
// inside, no script, nothing fetched), under 2 MB however long the logs are.
#pragma once
#include <functional>
#include <set>

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
inline std::string table(const Runs& runs, const std::string& rows) {
  if (rows.empty()) return "";
  std::string head;
  for (size_t i = 0; i < runs.size(); ++i)
    head += concat("<th class='", color(i), "'><i></i>", html(runs[i].name));
  return "<div class=wide><table><tr><th>" + head + rows + "</table></div>\n";
}

// better: the sign of a good difference, whose best is marked; 0 = none is best. "" if no run has a value
template <class ValueOf>
std::string number_row(const Runs& runs, const std::string& name, int better, ValueOf value_of,
                       int decimals = -1) {
  std::string row = "<tr><td>" + html(name);
  std::vector<double> values;
  for (const RunHistory& run : runs)
    if (const double v = value_of(run); !std::isnan(v)) values.push_back(v);
  if (values.empty()) return "";
  const auto [low, high] = std::ranges::minmax(values);
  for (const RunHistory& run : runs) {
    const double v = value_of(run);
    const bool best = better != 0 && values.size() > 1 && v == (better < 0 ? low : high);
    row += best ? "<td class=best>" : "<td>";
    row += decimals < 0 || std::isnan(v) ? show(v) : fixed(v, decimals);
  }
  return row;
}

inline std::string scores_table(const Runs& runs) {
  const auto at_best = [](const std::string& key, bool update = false) {
    return [=](const RunHistory& run) {
      const Curve loss = run.curve("valid/loss"), c = run.curve(key);
      const auto best = std::ranges::min_element(
          loss.y, {}, [](double v) { return std::isnan(v) ? INFINITY : v; });
      const auto i = size_t(best - loss.y.begin());
      return i >= c.y.size() ? kNaN : update ? c.x[i] : c.y[i];
    };
  };
  const auto mean = [](const std::string& metric) {
    return [=](const RunHistory& run) { return run.score("mean", metric); };
  };
  const auto speed = [](const RunHistory& run) { return run.tokens / run.seconds; };
  return table(runs,
               number_row(runs, "best validation loss", -1, at_best("valid/loss"), 4) +
                   number_row(runs, "its nll", -1, at_best("valid/nll_loss"), 4) +
                   number_row(runs, "its perplexity", -1, at_best("valid/ppl"), 2) +
                   number_row(runs, "at update", 0, at_best("valid/loss", true)) +
                   number_row(runs, "BLEU, mean", 1, mean("BLEU"), 2) +
                   number_row(runs, "chrF2, mean", 1, mean("chrF2"), 2) +
                   number_row(runs, "updates", 0, std::mem_fn(&RunHistory::updates)) +
                   number_row(runs, "target tokens", 0, std::mem_fn(&RunHistory::tokens)) +
                   number_row(runs, "tokens per second", 1, speed) +
                   number_row(runs, "peak MiB of a rank", -1, std::mem_fn(&RunHistory::peak_mib)));
}

inline std::string directions_table(const Runs& runs) {
  std::set<std::string> names;
  for (const RunHistory& run : runs)
    for (const auto& [name, scores] : run.scores)
      if (name != "mean") names.insert(name);
  std::string rows;
  for (const std::string& name : names)
    rows += number_row(
        runs, name, 1, [&](const RunHistory& run) { return run.score(name, "BLEU"); }, 2);
  return rows.empty() ? "" : "<div><h3>BLEU by direction</h3>" + table(runs, rows) + "</div>";
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
  if (runs.size() == 1)
    return "<details><summary>All options</summary>" + table(runs, rows) + "</details>";
  return rows.empty() ? "" : "<div><h3>Options that differ</h3>" + table(runs, rows) + "</div>";
}

inline std::string traffic_table(const RunHistory& run) {
  double most = 1;
  for (const auto& [key, t] : run.traffic) most = std::max(most, t.bytes);
  std::string rows;
  for (const auto& [key, t] : run.traffic)
    rows += concat("<tr><td>", html(key.first), "<td>", html(key.second), "<td>",
                   show(t.bytes / run.updates),
                   "<td class='bar c0'><i style='width:", 100 * t.bytes / most, "%'></i><td>",
                   show(t.carried_bytes / run.updates), "<td>", show(t.messages / run.updates));
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
  const auto chart = [&](const std::string& key, const char* title, std::string note, Scale scale) {
    std::vector<Line> lines;
    bool any_valid = false;
    for (size_t i = 0; i < runs.size(); ++i) {
      const Curve train = runs[i].curve("train/" + key), valid = runs[i].curve("valid/" + key);
      const bool has_valid = !valid.x.empty();
      any_valid |= has_valid;
      lines.push_back({train, i,
                       !several    ? "training"
                       : has_valid ? ""
                                   : runs[i].name,
                       has_valid ? kThin : kPlain});
      if (has_valid)
        lines.push_back({valid, several ? i : 1, several ? runs[i].name : "validation", kDots});
    }
    if (several && any_valid) note += note.empty() ? "dots: validation" : "; dots: validation";
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
    dropped.push_back({block.dropped, dropped.size(), name});
    rounds.push_back({block.rounds, rounds.size(), name});
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
      "</h1><p>Training report by Switchyard. Horizontal axes count updates; legends give last "
      "values.</p>\n");
  out += "<div class=tables><div><h3>Scores</h3>" + scores_table(runs) + "</div>" +
         directions_table(runs) + options_table(runs) + "</div>" + overlaid_curves(runs);
  for (size_t i = 0; i < runs.size(); ++i) out += run_section(runs, i);
  return out + "</body></html>\n";
}

}  // namespace report
}  // namespace switchyard
