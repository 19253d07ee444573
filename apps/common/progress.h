// What the user sees of a run on standard error: a progress line on a terminal, plain lines in a pipe. Rank 0.
#pragma once
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <iomanip>
#include <iostream>
#include <nlohmann/json.hpp>

#include "tensor/check.h"

namespace switchyard {

inline std::string format_duration(double seconds) {  // 1:02:03
  if (!(seconds >= 0 && seconds < 1e9)) return "-:--:--";
  const int64_t s = std::llround(seconds);
  const auto two = [](int64_t n) { return concat(n < 10 ? ":0" : ":", n); };
  return concat(s / 3600, two(s / 60 % 60), two(s % 60));
}

class Progress {
 public:
  // terminal: one line that changes; else whole lines
  Progress(int64_t update, int64_t max_update, bool terminal = ::isatty(STDERR_FILENO),
           std::ostream& out = std::cerr)
      : first_(update), update_(update), max_update_(max_update), terminal_(terminal), out_(out) {}

  ~Progress() {  // the progress line stays on the screen
    if (line_open_) out_ << std::endl;
  }

  // After each update
  void update(double loss_bits, double tokens_per_second) {
    ++update_;
    const bool last = update_ >= max_update_;
    if (!terminal_ || (!last && Clock::now() - shown_ < std::chrono::milliseconds(100))) return;
    shown_ = Clock::now();
    const std::string line = line_of({{"kind", "train"},
                                      {"update", update_},
                                      {"loss", loss_bits},
                                      {"tokens_per_second", tokens_per_second}});
    // cut at the border, not wrapped
    out_ << kClear << "\033[?7l" << line << "\033[?7h" << std::flush;
    line_open_ = true;
  }

  // A record of the log
  void record(const nlohmann::json& r) {
    if (terminal_ && r["kind"] == "train") return;  // the progress line says it
    out_ << (line_open_ ? kClear : "") << line_of(r) << std::endl;
    line_open_ = false;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr const char* kClear = "\r\033[K";

  static std::string shortened(double value, int digits) {
    return concat(std::setprecision(digits), value);
  }
  static std::string with_unit(double value) {  // 12345 -> 12.3k
    if (value >= 1e6) return shortened(value / 1e6, 3) + "M";
    return value >= 1e3 ? shortened(value / 1e3, 3) + "k" : shortened(value, 3);
  }

  std::string line_of(const nlohmann::json& r) const {
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
      const std::chrono::duration<double> elapsed = Clock::now() - started_;
      const double each = elapsed.count() / double(update_ - first_);
      line += " | ETA " + format_duration(each * double(max_update_ - update_));
    }
    return line;
  }

  int64_t first_, update_, max_update_;
  bool terminal_;
  std::ostream& out_;
  Clock::time_point started_ = Clock::now(), shown_{};
  bool line_open_ = false;
};

}  // namespace switchyard
