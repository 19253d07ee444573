// Curves as SVG charts inside a page: numbers to pixels, a few round ticks, thinned paths, a legend. A chart is
// as wide as a phone; the page sets as many side by side as fit, so that letters keep their size. Colours are
// the classes c0..c7 of report_style.h.
#pragma once
#include <algorithm>
#include <iomanip>
#include <set>

#include "apps/common/run_history.h"

namespace switchyard::svg {

constexpr double kWidth = 380, kHeight = 210, kLeft = 48, kRight = 12, kTop = 8, kBottom = 22;
constexpr size_t kPoints = 800;  // of a chart, all lines together

// Safe in an element and in a quoted attribute
inline std::string html(const std::string& text) {
  std::string safe;
  for (const char c : text)
    if (std::strchr("&<>\"'", c)) safe += concat("&#", int(c), ";");  // NUL as well
    else safe += c;
  return safe;
}

inline std::string show(double v) {  // 12345 -> 12.35k
  if (!std::isfinite(v)) return "–";
  const char* unit = "";
  for (const char* next : {"k", "M", "G", "T"})
    if (std::abs(v) >= (*unit ? 1000 : 10000)) v /= 1000, unit = next;
  return concat(std::setprecision(4), v + 0.0, unit);  // no -0
}

inline std::string color(size_t i) { return concat("c", i % 8, i / 8 % 2 ? " dash" : ""); }

struct Axis {
  double from, to;  // pixels
  double low = INFINITY, high = -INFINITY;
  bool log = false;
  std::vector<double> ticks = {};

  void include(double v) { low = std::fmin(low, v), high = std::fmax(high, v); }
  double at(double v) const {  // beyond the top it runs off
    v = std::max(v, low);
    const double share = log ? std::log(v / low) / std::log(high / low) : (v - low) / (high - low);
    return from + (to - from) * std::min(share, 2.0);
  }
  void finish(bool wants_log) {
    if (!(high > low)) high = low + (low == 0 ? 1 : std::abs(low) / 10);
    const double ratio = high / low;
    log = wants_log && low > 0 && ratio > 6 && ratio < 1e8;
    const double power = std::pow(10, std::floor(std::log10(log ? low : (high - low) / 4)));
    if (log) {
      for (double decade = power; decade <= high; decade *= 10)
        for (const double factor : {1, 2, 5})
          if (factor == 1 || ratio < 1e3) ticks.push_back(factor * decade);
    } else {
      double step = power;
      for (const double nice : {2, 5, 10})
        if (step < (high - low) / 4.2) step = nice * power;
      for (double i = std::ceil(low / step - 1e-6);
           i * step <= high + 1e-6 * step && ticks.size() < 6; ++i)
        ticks.push_back(i * step);
    }
    std::erase_if(ticks, [&](double v) { return v < low - 1e-9 * high || v > high * (1 + 1e-9); });
  }
};

inline std::string figure(const std::string& title, const std::string& note, double height,
                          const std::string& svg, const std::string& below) {
  return concat("<figure><figcaption>", html(title), " <span>", html(note),
                "</span></figcaption><svg role=img aria-label='", html(title), "' viewBox='0 0 ",
                kWidth, " ", height, "'>", svg, "</svg>", below, "</figure>\n");
}

inline std::string label(double x, double y, const std::string& text, const char* kind) {
  return concat("<text class=", kind, " x=", x, " y=", y, ">", text, "</text>");
}

enum Style { kPlain, kThin, kDots, kArea };
enum Scale { kLinear, kFromZero, kLog };

struct Line {
  Curve curve;
  size_t color;
  std::string label;  // "" = not in the legend
  Style style = kPlain;
};

// Of each stretch of records the lowest and the highest value, so that no spike is lost.
// kDots: every value by itself; kArea: filled down to the axis.
inline std::string path(const Curve& c, const Axis& x, const Axis& y, size_t points, Style style) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(1);
  const size_t n = c.x.size(), stretch = (2 * n + points - 1) / points;
  for (size_t first = 0; first < n; first += stretch) {
    const auto begin = c.y.begin() + first, end = begin + std::min(stretch, n - first);
    const auto [low, high] = std::minmax_element(begin, end);
    for (const auto value : std::set{low, high})
      out << (style == kDots || value == c.y.begin() ? "M" : "L") << x.at(c.x[value - c.y.begin()])
          << "," << y.at(*value) << (style == kDots || n == 1 ? "h0" : "");
  }
  if (style == kArea && n > 0) out << "V" << y.from << "H" << x.at(c.x[0]) << "Z";
  return out.str();
}

// "" if there is nothing to show
inline std::string line_chart(const std::string& title, const std::string& note,
                              const std::vector<Line>& lines, Scale scale) {
  Axis x{kLeft, kWidth - kRight}, y{kHeight - kBottom, kTop};
  x.include(0), x.include(1);
  for (const Line& line : lines) {
    const Curve& c = line.curve;
    if (!c.x.empty()) x.include(c.x.back());
    // the first 5% may run off, so that what follows is seen better
    for (size_t i = 0; i < c.x.size(); ++i)
      if (c.x[i] >= c.x.back() / 20) y.include(c.y[i]);
  }
  if (!std::isfinite(y.low)) return "";
  if (scale == kFromZero) y.include(0);
  x.finish(false), y.finish(scale == kLog);
  std::string rules, paths, key;
  for (const double v : y.ticks)
    rules += concat("<path class=rule d='M", kLeft, ",", y.at(v), "H", kWidth - kRight, "'/>",
                    label(kLeft - 6, y.at(v) + 4, show(v), "y"));
  for (const double v : x.ticks) rules += label(x.at(v), kHeight - 5, show(v), "x");
  const size_t points = std::max<size_t>(kPoints / lines.size(), 8);
  for (const auto& [curve, i, name, style] : lines) {
    const char* kind[] = {"", " thin", "", " area"};
    paths += concat("<path class='curve ", color(i), kind[style], "' d='",
                    path(curve, x, y, points, style == kDots ? kPlain : style), "'/>");
    if (style == kDots && curve.x.size() <= 40)
      paths += concat("<path class='curve dot ", color(i), "' d='",
                      path(curve, x, y, points, kDots), "'/>");
    if (name.empty() || curve.y.empty()) continue;
    key += concat("<li class='", color(i), "'><i></i>", html(name), " <small>",
                  style == kArea ? "" : show(curve.y.back()), "</small>");
  }
  return figure(title, note, kHeight, lines[0].style == kArea ? paths + rules : rules + paths,
                "<ul class=key>" + key + "</ul>");
}

}  // namespace switchyard::svg
