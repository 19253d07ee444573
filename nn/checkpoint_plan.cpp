// What a checkpoint holds of a model and its optimizer (one entry for each parameter, and three for its
// state: moments are placed as their parameter, the step counter is equal on all ranks), and who writes it.
#include "nn/checkpoint_plan.h"

#include <algorithm>

namespace switchyard {

std::vector<CheckpointEntry> model_entries(const std::vector<NamedParam>& params) {
  std::vector<CheckpointEntry> entries;
  for (const auto& [path, p] : params)
    entries.push_back(
        {"/model/" + path, p->var.data(), p->placement, p->first_row, p->global_rows});
  return entries;
}

std::vector<CheckpointEntry> optimizer_entries(const std::vector<NamedParam>& params,
                                               Optimizer& optimizer) {
  std::vector<CheckpointEntry> entries;
  for (const auto& [path, p] : params) {
    const Optimizer::Slot& slot = optimizer.slot(path, *p);
    entries.push_back({"/optimizer/m/" + path, slot.m, p->placement, p->first_row, p->global_rows});
    entries.push_back({"/optimizer/v/" + path, slot.v, p->placement, p->first_row, p->global_rows});
    entries.push_back({"/optimizer/step/" + path, Tensor::of(std::vector<int64_t>{slot.step})});
  }
  return entries;
}

void take_steps(const std::vector<CheckpointEntry>& entries, Optimizer& optimizer) {
  std::map<std::string, Tensor> tensors;
  for (const auto& e : entries) tensors[e.path] = e.tensor;
  optimizer.visit_state([&](const std::string& path, Optimizer::Slot& slot) {
    slot.step = tensors.at("/optimizer/step/" + path).data<int64_t>()[0];
  });
}

std::string describe(const std::vector<CheckpointEntry>& entries) {
  std::vector<CheckpointPiece> pieces;
  for (const auto& e : entries) {
    check(e.tensor.defined() && e.tensor.rank() > 0,
          concat(e.path, ": a checkpoint entry needs at least one dimension"));
    CheckpointPiece& p = pieces.emplace_back();
    p.path = e.path, p.dtype = e.tensor.dtype(), p.bytes = e.tensor.bytes();
    p.whole = e.tensor.shape(), p.rows = p.whole[0], p.first_row = e.first_row;
    p.sharded = e.placement == Placement::ExpertSharded;
    if (p.sharded) p.whole[0] = e.global_rows;
  }
  return nlohmann::json(pieces).dump();
}

std::vector<CheckpointPiece> plan_checkpoint(const std::vector<std::string>& descriptions) {
  std::map<std::pair<std::string, int64_t>, CheckpointPiece> pieces;  // by path and first row
  std::vector<int64_t> load(descriptions.size(), 0);
  for (size_t rank = 0; rank < descriptions.size(); ++rank)
    for (CheckpointPiece p : nlohmann::json::parse(descriptions[rank])) {
      p.rank = int(rank);
      if (p.sharded && p.rows == 0) continue;  // this rank holds no expert of the set
      const bool is_new = pieces.try_emplace({p.path, p.first_row}, p).second;
      if (is_new && p.sharded) load[rank] += p.bytes;  // else a lower rank has it
    }
  std::vector<CheckpointPiece> plan;
  std::map<std::string, int64_t> rows;  // planned so far
  for (auto& [key, p] : pieces) {
    if (!p.sharded) {  // to the rank with the least to write so far
      p.rank = int(std::min_element(load.begin(), load.end()) - load.begin());
      load[size_t(p.rank)] += p.bytes;
    }
    check(p.first_row == rows[p.path], concat(p.path, ": the ranks' rows leave gaps or overlap"));
    rows[p.path] += p.rows;
    plan.push_back(p);
  }
  for (const auto& p : plan)
    check(rows[p.path] == p.whole[0],
          concat(p.path, ": the ranks' rows do not make up the whole ", to_string(p.whole)));
  return plan;
}

}  // namespace switchyard
