// What happened since the last record, summed over updates and ranks, as records for the log and a line for
// people, by rank 0. Keys and units are listed in docs/formats.md. Losses are in bits per target token.
#pragma once
#include <numbers>

#include "apps/common/progress.h"
#include "apps/common/run_log.h"
#include "apps/common/train_task.h"
#include "tensor/device.h"

namespace switchyard {

class TrainLog {
 public:
  using json = nlohmann::json;
  using Summary = std::function<json(const Statistics&)>;

  // folder: the run folder, where an earlier run may have left records up to `update`
  // summary: what more a record says, from the statistics of all ranks
  TrainLog(dist::Runtime& runtime, const std::string& folder, int64_t update, int64_t max_update,
           bool progress, Summary summary = {})
      : runtime_(runtime), summary_(std::move(summary)) {
    runtime_.world.meter().reset();
    if (runtime.world.rank() != 0) return;
    log_ = std::make_unique<RunLog>(folder, update);
    if (progress) line_ = std::make_unique<Progress>(update, max_update);
  }

  // Of one micro-batch of this rank
  void add_statistics(const Statistics& s) { add(statistics_, s); }

  // Of one update: the sums over ranks; and "updates" (1), "gnorm", and this rank's "seconds", "data_seconds",
  // "comm_seconds".
  void add_update(const Sums& sums) {
    for (const auto& [name, value] : sums) sums_[name] += value;
    if (line_)
      line_->update(sums.at("loss") / std::max(1.0, sums.at("tokens")) / std::numbers::ln2,
                    sums.at("tokens") / sums.at("seconds"));
  }

  // Both collective; the record opens with kind, update and what else the trainer has to say.
  void write_train(json r) {
    r["communication"] = sum_over_ranks(traffic(runtime_.world.meter()));
    r["peak_mib"] =
        mib(runtime_.world.all_reduce(memory_stats(runtime_.device).peak_bytes, dist::Reduce::Max));
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
    write(std::move(r), sums_, statistics_);
    statistics_ = json::object();
    sums_.clear();
    runtime_.world.meter().reset();
  }
  void write_valid(json r, const ValidResult& v) {
    r["tokens"] = int64_t(v.sums.at("tokens"));
    release_cached();          // training has other shapes
    runtime_.world.barrier();  // so that the reading shows what stays
    if (log_) r["process"] = process_usage();
    write(std::move(r), v.sums, v.statistics);
  }

 private:
  // With the means over target tokens, those of the model in bits, and the perplexity
  void write(json r, const Sums& sums, const json& statistics) {
    r["layers"] = sum_over_ranks(statistics);
    if (log_ && summary_) r.update(summary_(r["layers"].get<Statistics>()));
    const double n = std::max(1.0, sums.at("tokens"));
    for (const auto& [name, sum] : sums)
      if (name.ends_with("loss")) r[name] = sum / n;
    for (const char* name : {"loss", "nll_loss"}) r[name] = sums.at(name) / n / std::numbers::ln2;
    r["ppl"] = std::exp2(r["nll_loss"].get<double>());
    if (log_) log_->write(r);
    if (line_) line_->record(r);
  }

  // Collective; result on rank 0
  json sum_over_ranks(const json& mine) const {
    json sum = json::object();
    for (const std::string& text : runtime_.world.all_gather_bytes(mine.dump()))
      if (log_) add(sum, json::parse(text));
    return sum;
  }

  // total += more: numbers, and lists and objects of them; what total lacks counts as 0.
  static void add(json& total, const json& more) {
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

  static double mib(int64_t bytes) { return double(bytes) / (1 << 20); }

  // By collective and level: what a rank sent.
  static json traffic(const dist::CommMeter& meter) {
    constexpr const char* levels[] = {"rank", "node", "cluster"};
    json sent = json::object();
    for (const auto& [key, t] : meter.entries)
      sent[key.first][levels[int(key.second)]] = {
          {"messages", t.messages}, {"bytes", t.bytes}, {"carried_bytes", t.carried_bytes}};
    return sent;
  }

  // Of rank 0's process: resident memory, open descriptors, and rank 0's live tensor bytes.
  json process_usage() const {
    int64_t pages = 0, resident = 0;
    std::ifstream("/proc/self/statm") >> pages >> resident;
    const std::filesystem::directory_iterator files("/proc/self/fd");
    return {{"resident_mib", mib(resident * 4096)},
            {"open_files", std::distance(begin(files), end(files))},
            {"live_bytes", memory_stats(runtime_.device).live_bytes}};
  }

  dist::Runtime& runtime_;
  Summary summary_;
  std::unique_ptr<RunLog> log_;  // rank 0
  std::unique_ptr<Progress> line_;
  // since the last record
  json statistics_ = json::object();
  Sums sums_;
};

}  // namespace switchyard
