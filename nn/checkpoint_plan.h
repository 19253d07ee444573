// Which rank writes which rows of which dataset. A function of all ranks' lists: nothing depends on
// processes. Experts: the lowest rank that holds them; replicated tensors: spread by size.
#pragma once
#include <string>
#include <vector>

#include "nn/checkpoint.h"

namespace switchyard {

struct CheckpointPiece {
  std::string path;
  Shape whole;  // shape of the dataset in model.h5
  DType dtype = DType::F32;
  int64_t first_row = 0, rows = 0;
  int rank = 0;  // who writes it
  int64_t bytes() const {
    return whole[0] == 0 ? 0 : numel_of(whole) / whole[0] * rows * size_of(dtype);
  }
};

// A rank's list as text, without the values, and the plan from all of them: by path, then first row.
std::string describe(const std::vector<CheckpointEntry>& entries);
std::vector<CheckpointPiece> plan_checkpoint(const std::vector<std::string>& descriptions);
int64_t total_bytes(const std::vector<CheckpointPiece>& plan);

}  // namespace switchyard
