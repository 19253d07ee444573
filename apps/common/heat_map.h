// The load of a block's experts over a run as an SVG heat map: experts down, updates across, colour = first
// choices of an expert as a multiple of an equal share; lines part the strata. Colours are the classes h0..h7
// of report_style.h.
#pragma once
#include "apps/common/svg_chart.h"
#include "moe/methods/hmoe_config.h"

namespace switchyard::svg {

constexpr double kLevels[] = {0.05, 0.25, 0.5, 0.8, 1.25, 2, 4};  // where the next colour begins

inline std::string heat_legend() {
  std::string out = "<ul class='key scale'><li class=h0><i></i>0";
  for (size_t i = 0; i < std::size(kLevels); ++i)
    out += concat("<li class=h", i + 1, "><i></i>", kLevels[i]);
  return out + "</ul>";
}

// columns: at most; more records share cells
inline std::string heat_map(const RunHistory& run, const std::string& name, size_t columns) {
  const ExpertLoad& block = run.blocks.at(name);
  if (block.choices.empty()) return "";
  const size_t records = block.choices.size(), experts = block.choices[0].size();
  columns = std::min(records, columns);
  std::vector<std::vector<double>> cells(experts, std::vector<double>(columns));
  std::vector<double> equal(columns);  // a share
  for (size_t e = 0; e < experts; ++e)
    for (size_t r = 0; r < records; ++r) {
      cells[e][r * columns / records] += block.choices[r][e];
      equal[r * columns / records] += block.choices[r][e] / double(experts);
    }
  const auto level = [&](size_t e, size_t column) {
    const double ratio = equal[column] > 0 ? cells[e][column] / equal[column] : 0;
    return std::upper_bound(std::begin(kLevels), std::end(kLevels), ratio) - std::begin(kLevels);
  };
  std::string paths[std::size(kLevels) + 1];  // of a colour; equal neighbours are one stroke
  for (size_t row = 0; row < experts; ++row)
    for (size_t first = 0, end; first < columns; first = end) {
      for (end = first + 1; end < columns && level(row, end) == level(row, first);) ++end;
      paths[level(row, first)] += concat("M", first, " ", row, "h", end - first);
    }
  const double width = kWidth - kLeft - kRight;
  const double height = double(std::clamp<size_t>(experts * 14, 56, 168));
  std::string svg = concat("<g shape-rendering=crispEdges transform='translate(", kLeft, " ",
                           height / double(experts) / 2, ")scale(", width / double(columns), " ",
                           height / double(experts), ")'>");
  for (size_t i = 0; i < std::size(paths); ++i)
    if (!paths[i].empty()) svg += concat("<path class='cells h", i, "' d='", paths[i], "'/>");
  svg += "</g>";
  moe::HmoeConfig config;
  config.moe_expert_count = int(experts);
  config.hmoe_layer = std::atoi(run.option("hmoe-layer").c_str());
  config.hmoe_dynamic = run.option("hmoe-dynamic");
  double first = 0;
  for (const int64_t size : config.strata()) {
    if (first > 0)
      svg += concat("<path class=stratum d='M", kLeft, ",", height / double(experts) * first, "h",
                    width, "'/>");
    first += double(size);
  }
  svg += label(kLeft - 6, 11, "0", "y") +
         label(kLeft - 6, height - 2, show(double(experts - 1)), "y") +
         label(kLeft, height + 15, show(block.updates[0]), "start") +
         label(kWidth - kRight, height + 15, show(block.updates.back()), "y");
  return figure(name, concat(experts, " experts"), height + 20, svg, "");
}

}  // namespace switchyard::svg
