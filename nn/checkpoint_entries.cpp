// What a checkpoint holds of a model and its optimizer: one entry for each parameter, and three for its
// state. Moments are placed as their parameter; the step counter is equal on all ranks.
#include "nn/checkpoint.h"

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
    for (const auto& [name, tensor] : {std::pair{"m/", slot.m}, std::pair{"v/", slot.v}})
      entries.push_back(
          {concat("/optimizer/", name, path), tensor, p->placement, p->first_row, p->global_rows});
    entries.push_back({"/optimizer/step/" + path, Tensor::of(std::vector<int64_t>{slot.step})});
  }
  return entries;
}

void take_steps(const std::vector<CheckpointEntry>& entries, Optimizer& optimizer) {
  const std::string group = "/optimizer/step/";
  for (const auto& e : entries)
    if (e.path.starts_with(group))
      optimizer.slots().at(e.path.substr(group.size())).step = e.tensor.data<int64_t>()[0];
}

}  // namespace switchyard
