// What happened since the last record, summed over updates and ranks, as records for the log and a line for
// people, by rank 0. Keys and units are listed in docs/formats.md. Losses are in bits per target token.
#pragma once
#include <memory>
#include <string>

#include "apps/common/progress.h"
#include "apps/common/run_log.h"
#include "apps/common/train_task.h"
#include "dist/runtime.h"

namespace switchyard {

class TrainLog {
 public:
  // folder: the run folder, where an earlier run may have left records up to `update`
  TrainLog(dist::Runtime& runtime, const std::string& folder, int64_t update, int64_t max_update,
           bool progress);
  void add_statistics(const Statistics& s);  // of one micro-batch of this rank
  // Of one update: the sums over ranks; and "updates" (1), "gnorm", and this rank's "seconds", "data_seconds",
  // "comm_seconds".
  void add_update(const Sums& sums);
  // Both collective; `record` opens with kind, update and what else the trainer has to say.
  void write_train(nlohmann::json record);
  void write_valid(nlohmann::json record, const ValidResult& result);

 private:
  nlohmann::json sum_over_ranks(const nlohmann::json& mine) const;  // collective; result on rank 0
  void write(const nlohmann::json& record);

  dist::Runtime& runtime_;
  std::unique_ptr<RunLog> log_;  // rank 0
  std::unique_ptr<Progress> line_;
  // since the last record
  nlohmann::json statistics_ = nlohmann::json::object();
  Sums sums_;
};

}  // namespace switchyard
