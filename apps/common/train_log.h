// The record of a run: log.jsonl, TensorBoard events and the progress line, written by rank 0.
// Keys and units are listed in docs/formats.md. Losses are in bits per target token.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "apps/common/log.h"
#include "apps/common/step_numbers.h"
#include "apps/common/tensorboard.h"
#include "dist/runtime.h"

namespace switchyard {

struct StepTimes {
  double total = 0, data = 0, comm = 0;  // seconds
};

class TrainLog {
 public:
  // folder: the run folder (rank 0 writes there); resume_update: records after it are cut away, -1 = new
  TrainLog(dist::Runtime& runtime, const std::string& folder, int64_t resume_update,
           std::vector<std::string> auxiliary_names, bool progress);
  void start(int64_t update, int64_t max_update);
  void add_statistics(const Statistics& s);  // of one micro-batch of this rank
  void add_step(const StepNumbers& all, double lr, double grad_norm, const StepTimes& times);
  void write_train(int64_t update, int64_t epoch);                                   // collective
  void write_valid(int64_t update, int64_t epoch, const ValidResult& r, bool best);  // collective
  void write_event(const nlohmann::json& record);  // rank 0: anything else worth keeping
  void sync();                                     // on disk before a checkpoint says so
  void finish(int64_t update);

 private:
  Statistics merge_over_ranks(const Statistics& mine) const;  // collective; complete on rank 0
  nlohmann::json communication() const;  // since the last record, summed over ranks
  void write(const nlohmann::json& record, int64_t update);

  dist::Runtime& runtime_;
  bool rank0_, progress_;
  std::vector<std::string> auxiliary_names_;
  std::unique_ptr<RunLog> log_;
  std::unique_ptr<TensorBoardWriter> board_;
  std::unique_ptr<Progress> line_;
  int64_t max_update_ = 0;
  // since the last record
  StepNumbers sums_;
  StepTimes times_;
  int64_t steps_ = 0;
  double lr_ = 0, norm_ = 0;
  Statistics statistics_;
};

}  // namespace switchyard
