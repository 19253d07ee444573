#include "nn/checkpoint_plan.h"

#include <algorithm>
#include <set>
#include <sstream>
#include <tuple>

namespace switchyard {

// One line for each entry: path dtype sharded first_row global_rows rank-of-tensor dims...
std::string describe(const std::vector<CheckpointEntry>& entries) {
  std::ostringstream out;
  for (const auto& e : entries) {
    check(e.tensor.defined() && e.tensor.rank() > 0,
          concat(e.path, ": a checkpoint entry needs at least one dimension"));
    const bool sharded = e.placement == Placement::ExpertSharded;
    out << e.path << ' ' << int(e.tensor.dtype()) << ' ' << sharded << ' ' << e.first_row << ' '
        << (sharded ? e.global_rows : e.tensor.dim(0)) << ' ' << e.tensor.rank();
    for (int64_t d : e.tensor.shape()) out << ' ' << d;
    out << '\n';
  }
  return out.str();
}

std::vector<CheckpointPiece> plan_checkpoint(const std::vector<std::string>& descriptions) {
  std::vector<CheckpointPiece> plan, replicated;
  std::set<std::tuple<std::string, int64_t>> taken;  // path, first row
  std::vector<int64_t> load(descriptions.size(), 0);
  for (size_t rank = 0; rank < descriptions.size(); ++rank) {
    std::istringstream in(descriptions[rank]);
    CheckpointPiece piece;
    piece.rank = int(rank);
    int dtype, dims;
    bool sharded;
    int64_t global_rows;
    while (in >> piece.path >> dtype >> sharded >> piece.first_row >> global_rows >> dims) {
      piece.dtype = DType(dtype);
      piece.whole.resize(size_t(dims));
      for (auto& d : piece.whole) in >> d;
      piece.rows = piece.whole[0];
      piece.whole[0] = global_rows;
      if (sharded && piece.rows == 0) continue;  // this rank holds no expert of the set
      if (!taken.insert({piece.path, piece.first_row}).second) continue;  // a lower rank has it
      if (sharded) load[rank] += piece.bytes();
      (sharded ? plan : replicated).push_back(piece);
    }
  }
  // Each replicated tensor goes to the rank with the least to write so far
  for (auto& piece : replicated) {
    piece.rank = int(std::min_element(load.begin(), load.end()) - load.begin());
    load[size_t(piece.rank)] += piece.bytes();
    plan.push_back(piece);
  }
  std::sort(plan.begin(), plan.end(), [](const auto& a, const auto& b) {
    return std::tie(a.path, a.first_row) < std::tie(b.path, b.first_row);
  });
  for (size_t i = 0; i < plan.size(); ++i) {
    const auto& p = plan[i];
    const bool starts = i == 0 || plan[i - 1].path != p.path;
    const bool ends = i + 1 == plan.size() || plan[i + 1].path != p.path;
    const int64_t expected = starts ? 0 : plan[i - 1].first_row + plan[i - 1].rows;
    check(p.first_row == expected && (!ends || p.first_row + p.rows == p.whole[0]),
          concat(p.path, ": the ranks' rows do not make up the whole ", to_string(p.whole)));
  }
  return plan;
}

int64_t total_bytes(const std::vector<CheckpointPiece>& plan) {
  int64_t sum = 0;
  for (const auto& p : plan) sum += p.bytes();
  return sum;
}

}  // namespace switchyard
