// Which rank writes which rows of which dataset. A function of all ranks' lists: nothing depends on
// processes. Experts: the lowest rank that holds them; replicated tensors: spread by size.
#pragma once
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "nn/checkpoint.h"

namespace switchyard {

// Rows of a dataset: planned, written to a shard, and listed in the manifest
struct CheckpointPiece {
  std::string path;
  Shape whole;  // shape of the dataset in model.h5
  DType dtype = DType::F32;
  bool sharded = false;             // rows are experts
  int64_t first_row = 0, rows = 0;  // of the whole
  int rank = 0;                     // who writes it
  int64_t bytes = 0, offset = -1;   // in the shard
  std::string xxh3_128;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(CheckpointPiece, path, whole, dtype, sharded, first_row, rows,
                                   rank, bytes, offset, xxh3_128)

// A rank's list as text, without the values, and the plan from all of them: by path, then first row.
std::string describe(const std::vector<CheckpointEntry>& entries);
std::vector<CheckpointPiece> plan_checkpoint(const std::vector<std::string>& descriptions);

}  // namespace switchyard
