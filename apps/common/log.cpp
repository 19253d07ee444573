#include "apps/common/log.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <iomanip>

#include "nn/checkpoint_files.h"
#include "tensor/check.h"

namespace switchyard {
namespace {

// Keeps the records up to `update`; a line torn by a crash goes too.
const std::string& cut_back(const std::string& path, int64_t update) {
  if (update < 0 || !std::filesystem::exists(path)) return path;
  std::istringstream lines(read_text(path));
  std::string line, kept;
  while (std::getline(lines, line)) {
    const nlohmann::json record = nlohmann::json::parse(line, nullptr, false);
    if (!record.is_object()) continue;
    const auto at = record.find("update");
    if (at == record.end() || !at->is_number() || at->get<double>() <= static_cast<double>(update))
      kept += line + "\n";
  }
  write_file_atomically(path, kept);
  return path;
}

std::string shortened(double value, int digits) {
  std::ostringstream out;
  out << std::setprecision(digits) << value;
  return out.str();
}

std::string with_unit(double value) {  // 12345 -> 12.3k
  if (value >= 1e6) return shortened(value / 1e6, 3) + "M";
  if (value >= 1e3) return shortened(value / 1e3, 3) + "k";
  return shortened(value, 3);
}

std::string record_line(const nlohmann::json& r, int64_t max_update) {
  const std::string kind = r.value("kind", "note");
  std::string line = kind == "train" ? "" : kind + " | ";
  line += concat("update ", r.value("update", int64_t{0}), "/", max_update);
  const auto number = [&](const char* key, const char* before, const char* after, int digits) {
    const auto found = r.find(key);
    if (found != r.end() && found->is_number())
      line += concat(" | ", before, shortened(found->get<double>(), digits), after);
  };
  number("loss", "loss ", " bits", 5);
  number("ppl", "ppl ", "", 5);
  number("gnorm", "norm ", "", 4);
  number("lr", "lr ", "", 4);
  if (const auto found = r.find("tokens_per_second"); found != r.end() && found->is_number())
    line += " | " + with_unit(found->get<double>()) + " tokens/s";
  if (const auto ms = r.find("ms"); ms != r.end() && ms->contains("step"))
    line += " | " + shortened(ms->at("step").get<double>(), 4) + " ms";
  if (r.value("best", false)) line += " | best so far";
  return line;
}

}  // namespace

RunLog::RunLog(const std::string& path, int64_t resume_update)
    : file_(cut_back(path, resume_update), resume_update >= 0) {}

void RunLog::write(const nlohmann::json& record) {
  using Json = nlohmann::json;
  file_.append(record.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

int terminal_width() {
  winsize size{};
  if (!::isatty(STDERR_FILENO)) return 0;
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e9) return "-:--:--";
  const auto total = static_cast<int64_t>(std::llround(seconds));
  std::ostringstream out;
  out << total / 3600 << std::setfill('0') << ':' << std::setw(2) << total / 60 % 60 << ':'
      << std::setw(2) << total % 60;
  return out.str();
}

std::string Progress::eta() const {
  const double elapsed = std::chrono::duration<double>(Clock::now() - started_).count();
  const auto done = static_cast<double>(update_ - first_);
  const auto left = static_cast<double>(max_update_ - update_);
  return "ETA " + format_duration(done > 0 ? elapsed / done * left : -1);
}

void Progress::update(double loss_bits, double tokens_per_second) {
  ++update_;
  const auto now = Clock::now();
  const bool last = update_ >= max_update_;
  if (width_ == 0 || (!last && now - shown_ < std::chrono::milliseconds(100))) return;
  shown_ = now;
  std::string line =
      concat("update ", update_, "/", max_update_, " | loss ", shortened(loss_bits, 5), " bits | ",
             with_unit(tokens_per_second), " tokens/s | ", eta());
  line.resize(std::min(line.size(), static_cast<size_t>(std::max(width_ - 1, 10))));
  clear_line();
  out_ << line << std::flush;
  line_open_ = true;
}

void Progress::record(const nlohmann::json& r) {
  const bool train = r.value("kind", "") == "train";
  if (width_ > 0 && train) return;  // the progress line says it
  clear_line();
  out_ << record_line(r, max_update_) << (train ? " | " + eta() : "") << std::endl;
}

void Progress::clear_line() {
  if (line_open_) out_ << "\r\033[K";
  line_open_ = false;
}

void Progress::finish() {
  if (line_open_) out_ << std::endl;
  line_open_ = false;
}

}  // namespace switchyard
