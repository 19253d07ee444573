#include "apps/common/progress.h"

#include <cmath>
#include <iomanip>
#include <utility>

#include "tensor/check.h"

namespace switchyard {
namespace {

std::string shortened(double value, int digits) { return concat(std::setprecision(digits), value); }

std::string with_unit(double value) {  // 12345 -> 12.3k
  if (value >= 1e6) return shortened(value / 1e6, 3) + "M";
  return value >= 1e3 ? shortened(value / 1e3, 3) + "k" : shortened(value, 3);
}

}  // namespace

std::string format_duration(double seconds) {
  if (!(seconds >= 0 && seconds < 1e9)) return "-:--:--";
  const int64_t s = std::llround(seconds);
  const auto two = [](int64_t n) { return concat(n < 10 ? ":0" : ":", n); };
  return concat(s / 3600, two(s / 60 % 60), two(s % 60));
}

std::string Progress::line_of(const nlohmann::json& r) const {
  const std::string kind = r["kind"];
  std::string line =
      concat(kind == "train" ? "" : kind + " | ", "update ", r["update"], "/", max_update_);
  const auto number = [&](const char* key, const char* before, const char* after, int digits) {
    if (r.contains(key)) line += concat(" | ", before, shortened(r[key], digits), after);
  };
  number("loss", "loss ", " bits", 5);
  number("ppl", "ppl ", "", 5);
  number("gnorm", "norm ", "", 4);
  number("lr", "lr ", "", 4);
  if (r.contains("tokens_per_second"))
    line += concat(" | ", with_unit(r["tokens_per_second"]), " tokens/s");
  if (r.contains("ms")) line += concat(" | ", shortened(r["ms"]["step"], 4), " ms");
  if (r.value("best", false)) line += " | best so far";
  if (kind == "train") {
    const double elapsed = std::chrono::duration<double>(Clock::now() - started_).count();
    const double each = elapsed / double(update_ - first_);
    line += " | ETA " + format_duration(each * double(max_update_ - update_));
  }
  return line;
}

void Progress::update(double loss_bits, double tokens_per_second) {
  ++update_;
  const bool last = update_ >= max_update_;
  if (!terminal_ || (!last && Clock::now() - shown_ < std::chrono::milliseconds(100))) return;
  shown_ = Clock::now();
  const std::string line = line_of({{"kind", "train"},
                                    {"update", update_},
                                    {"loss", loss_bits},
                                    {"tokens_per_second", tokens_per_second}});
  clear_line();
  out_ << "\033[?7l" << line << "\033[?7h" << std::flush;  // cut at the border, not wrapped
  line_open_ = true;
}

void Progress::record(const nlohmann::json& r) {
  if (terminal_ && r["kind"] == "train") return;  // the progress line says it
  clear_line();
  out_ << line_of(r) << std::endl;
}

void Progress::clear_line() {
  if (std::exchange(line_open_, false)) out_ << "\r\033[K";
}

Progress::~Progress() {
  if (line_open_) out_ << std::endl;
}

}  // namespace switchyard
