#include "apps/common/train_log.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <numbers>

#include "tensor/allocator.h"

namespace switchyard {

namespace {

using nlohmann::json;

// total += more: numbers, and lists and objects of them; what total lacks counts as 0.
void add(json& total, const json& more) {
  if (total.is_null()) {
    total = more;
  } else if (more.is_object()) {
    for (const auto& [name, value] : more.items()) add(total[name], value);
  } else if (more.is_array()) {
    for (size_t i = 0; i < more.size(); ++i) add(total[i], more[i]);
  } else if (more.is_number_integer()) {
    total = total.get<int64_t>() + more.get<int64_t>();
  } else {
    total = total.get<double>() + more.get<double>();
  }
}

// The means over target tokens, those of the model in bits, and the perplexity.
void add_losses(json& record, const Sums& sums) {
  const double n = std::max(1.0, sums.at("tokens"));
  for (const auto& [name, sum] : sums)
    if (name.ends_with("loss")) record[name] = sum / n;
  const double nll = sums.at("nll_loss") / n / std::numbers::ln2;
  record["loss"] = sums.at("loss") / n / std::numbers::ln2;
  record["nll_loss"] = nll;
  record["ppl"] = std::exp2(nll);
}

double mib(int64_t bytes) { return double(bytes) / (1 << 20); }

// By collective and level: what a rank sent.
json traffic(const dist::CommMeter& meter) {
  constexpr const char* levels[] = {"rank", "node", "cluster"};
  json sent = json::object();
  for (const auto& [key, t] : meter.entries)
    sent[key.first][levels[int(key.second)]] = {
        {"messages", t.messages}, {"bytes", t.bytes}, {"carried_bytes", t.carried_bytes}};
  return sent;
}

// Of rank 0's process: resident memory, open descriptors, and rank 0's live tensor bytes.
json process_usage() {
  int64_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  const std::filesystem::directory_iterator files("/proc/self/fd");
  return {{"resident_mib", mib(resident * 4096)},
          {"open_files", std::distance(begin(files), end(files))},
          {"live_bytes", allocator_stats().live_bytes}};
}

}  // namespace

TrainLog::TrainLog(dist::Runtime& runtime, const std::string& folder, int64_t update,
                   int64_t max_update, bool progress)
    : runtime_(runtime) {
  runtime_.world.meter().reset();
  if (runtime.world.rank() != 0) return;
  log_ = std::make_unique<RunLog>(folder, update);
  if (progress) line_ = std::make_unique<Progress>(update, max_update);
}

void TrainLog::add_statistics(const Statistics& s) { add(statistics_, s); }

void TrainLog::add_update(const Sums& sums) {
  for (const auto& [name, value] : sums) sums_[name] += value;
  if (line_)
    line_->update(sums.at("loss") / std::max(1.0, sums.at("tokens")) / std::numbers::ln2,
                  sums.at("tokens") / sums.at("seconds"));
}

json TrainLog::sum_over_ranks(const json& mine) const {
  json sum = json::object();
  for (const std::string& text : runtime_.world.all_gather_bytes(mine.dump()))
    if (log_) add(sum, json::parse(text));
  return sum;
}

void TrainLog::write_train(json r) {
  r["layers"] = sum_over_ranks(statistics_);
  r["communication"] = sum_over_ranks(traffic(runtime_.world.meter()));
  r["peak_mib"] = mib(runtime_.world.max(allocator_stats().peak_bytes));
  add_losses(r, sums_);
  const double updates = sums_["updates"], tokens = sums_["tokens"], seconds = sums_["seconds"];
  const double data = sums_["data_seconds"], comm = sums_["comm_seconds"];
  r.update({{"gnorm", sums_["gnorm"] / updates},
            {"tokens", tokens},
            {"sentences", sums_["sentences"]},
            {"tokens_per_update", tokens / updates},
            {"tokens_per_second", tokens / seconds},
            {"ms",
             {{"step", 1e3 * seconds / updates},
              {"compute", 1e3 * (seconds - data - comm) / updates},
              {"communication", 1e3 * comm / updates},
              {"data", 1e3 * data / updates}}}});
  if (log_) r["process"] = process_usage();
  write(r);
  statistics_ = json::object();
  sums_.clear();
  runtime_.world.meter().reset();
}

void TrainLog::write_valid(json r, const ValidResult& v) {
  r["layers"] = sum_over_ranks(v.statistics);
  r["tokens"] = v.targets;
  add_losses(r, {{"loss", v.loss_sum}, {"nll_loss", v.nll_sum}, {"tokens", v.targets}});
  write(r);
}

void TrainLog::write(const json& record) {
  if (log_) log_->write(record);
  if (line_) line_->record(record);
}

}  // namespace switchyard
