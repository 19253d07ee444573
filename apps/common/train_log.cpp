#include "apps/common/train_log.h"

#include <cmath>
#include <filesystem>
#include <fstream>

#include "tensor/allocator.h"

namespace switchyard {

namespace {

constexpr double kLn2 = 0.69314718055994530942;

const char* name_of(dist::Level level) {
  constexpr const char* names[] = {"rank", "node", "cluster"};
  return names[int(level)];
}

// Of rank 0's process: resident memory, open descriptors, and rank 0's live tensor bytes.
nlohmann::json process_usage() {
  int64_t pages = 0, resident = 0, files = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd"))
    ++files;
  return {{"resident_mib", double(resident) * 4096 / (1 << 20)},
          {"open_files", files},
          {"live_bytes", allocator_stats().live_bytes}};
}

}  // namespace

TrainLog::TrainLog(dist::Runtime& runtime, const std::string& folder, int64_t resume_update,
                   std::vector<std::string> auxiliary_names, bool progress)
    : runtime_(runtime),
      rank0_(runtime.world.rank() == 0),
      progress_(progress && rank0_),
      auxiliary_names_(std::move(auxiliary_names)),
      sums_(auxiliary_names_.size()) {
  if (!rank0_) return;
  log_ = std::make_unique<RunLog>(folder + "/log.jsonl", resume_update);
  board_ = std::make_unique<TensorBoardWriter>(folder + "/tb", resume_update);
}

void TrainLog::start(int64_t update, int64_t max_update) {
  max_update_ = max_update;
  if (progress_) line_ = std::make_unique<Progress>(update, max_update);
  runtime_.world.meter().reset();
}

void TrainLog::add_statistics(const Statistics& s) {
  for (const auto& [name, values] : s) {
    std::vector<double>& total = statistics_[name];
    if (total.size() < values.size()) total.resize(values.size());
    for (size_t i = 0; i < values.size(); ++i) total[i] += values[i];
  }
}

void TrainLog::add_step(const StepNumbers& all, double lr, double grad_norm,
                        const StepTimes& times) {
  sums_.targets += all.targets, sums_.sources += all.sources, sums_.sentences += all.sentences;
  sums_.loss += all.loss, sums_.nll += all.nll;
  for (size_t i = 0; i < all.auxiliary.size(); ++i) sums_.auxiliary[i] += all.auxiliary[i];
  times_.total += times.total, times_.data += times.data, times_.comm += times.comm;
  lr_ = lr, norm_ += grad_norm;
  ++steps_;
  if (line_) line_->update(all.loss / std::max(1.0, all.targets) / kLn2, all.targets / times.total);
}

Statistics TrainLog::merge_over_ranks(const Statistics& mine) const {
  Statistics merged;
  const auto all = runtime_.world.all_gather_bytes(nlohmann::json(mine).dump());
  if (!rank0_) return merged;
  for (const std::string& text : all) {
    const Statistics of_rank = nlohmann::json::parse(text).get<Statistics>();
    for (const auto& [name, values] : of_rank) {
      std::vector<double>& total = merged[name];
      if (total.size() < values.size()) total.resize(values.size());
      for (size_t i = 0; i < values.size(); ++i) total[i] += values[i];
    }
  }
  return merged;
}

nlohmann::json TrainLog::communication() const {
  nlohmann::json mine = nlohmann::json::object();
  for (const auto& e : runtime_.world.meter().entries)
    mine[e.kind][name_of(e.level)] = {e.messages, e.bytes, e.carried_bytes};
  nlohmann::json sum = nlohmann::json::object();
  for (const std::string& text : runtime_.world.all_gather_bytes(mine.dump())) {
    if (!rank0_) continue;
    const nlohmann::json of_rank = nlohmann::json::parse(text);
    for (const auto& [kind, levels] : of_rank.items())
      for (const auto& [level, v] : levels.items()) {
        nlohmann::json& s = sum[kind][level];
        if (s.is_null()) s = {{"messages", 0}, {"bytes", 0}, {"carried_bytes", 0}};
        s["messages"] = s["messages"].get<int64_t>() + v[0].get<int64_t>();
        s["bytes"] = s["bytes"].get<int64_t>() + v[1].get<int64_t>();
        s["carried_bytes"] = s["carried_bytes"].get<int64_t>() + v[2].get<int64_t>();
      }
  }
  return sum;
}

void TrainLog::write_train(int64_t update, int64_t epoch) {
  if (steps_ == 0) return;
  const Statistics merged = merge_over_ranks(statistics_);
  const nlohmann::json comm = communication();
  const int64_t peak = runtime_.world.max(allocator_stats().peak_bytes);
  if (rank0_) {
    const double n = std::max(1.0, sums_.targets), steps = double(steps_);
    const double nll = sums_.nll / n / kLn2;
    nlohmann::json r = {{"kind", "train"}, {"update", update}, {"epoch", epoch}};
    r["loss"] = sums_.loss / n / kLn2, r["nll_loss"] = nll, r["ppl"] = std::exp2(nll);
    for (size_t i = 0; i < auxiliary_names_.size(); ++i)
      r[auxiliary_names_[i]] = sums_.auxiliary[i] / n;
    r["lr"] = lr_, r["gnorm"] = norm_ / steps;
    r["tokens"] = sums_.targets, r["sentences"] = sums_.sentences;
    r["tokens_per_update"] = sums_.targets / steps;
    r["tokens_per_second"] = sums_.targets / times_.total;
    const double compute = times_.total - times_.data - times_.comm;
    r["ms"] = {{"step", 1e3 * times_.total / steps},
               {"compute", 1e3 * compute / steps},
               {"communication", 1e3 * times_.comm / steps},
               {"data", 1e3 * times_.data / steps}};
    r["peak_mib"] = double(peak) / (1 << 20);
    r["process"] = process_usage();
    r["layers"] = merged, r["communication"] = comm;
    write(r, update);
    if (line_) line_->record(r);
  }
  sums_ = StepNumbers(auxiliary_names_.size());
  times_ = {}, steps_ = 0, norm_ = 0;
  statistics_.clear();
  runtime_.world.meter().reset();
}

void TrainLog::write_valid(int64_t update, int64_t epoch, const ValidResult& v, bool best) {
  const Statistics merged = merge_over_ranks(v.statistics);
  if (!rank0_) return;
  const double n = std::max<double>(1, v.targets), nll = v.nll_sum / n / kLn2;
  nlohmann::json r = {{"kind", "valid"}, {"update", update}, {"epoch", epoch}, {"best", best}};
  r["loss"] = v.loss_sum / n / kLn2, r["nll_loss"] = nll, r["ppl"] = std::exp2(nll);
  r["tokens"] = v.targets, r["layers"] = merged;
  write(r, update);
  if (line_) line_->record(r);
}

void TrainLog::write_event(const nlohmann::json& record) {
  if (log_) log_->write(record);
}

void TrainLog::write(const nlohmann::json& r, int64_t update) {
  log_->write(r);
  const std::string kind = r["kind"].get<std::string>() + "/";
  for (const auto& [key, value] : r.items()) {
    if (value.is_number() && key != "update")
      board_->scalar(kind + key, value.get<double>(), update);
    if (key == "ms")
      for (const auto& [part, ms] : value.items()) board_->scalar(kind + "ms_" + part, ms, update);
  }
}

void TrainLog::sync() {
  if (!rank0_) return;
  log_->sync();
  board_->sync();
}

void TrainLog::finish(int64_t) {
  if (line_) line_->finish();
  if (rank0_) sync();
}

}  // namespace switchyard
