// A stack: layers, each a list of sub-blocks, and the norm after the last one (pre-norm models).
// Parameters of layer i lie under "<i>/". With activation checkpointing each sub-block keeps only its
// inputs; backward runs it again with the same random draws and the recorded integer decisions.
#pragma once
#include <optional>

#include "nn/norm.h"
#include "nn/sub_block.h"

namespace switchyard {

struct Layer : Module {
  std::vector<std::unique_ptr<SubBlock>> blocks;
  void visit(ParamVisitor& v) override {
    for (auto& block : blocks) block->visit(v);
  }
};

class Stack : public Module {
 public:
  Stack(std::vector<Layer> layers, std::optional<LayerNorm> norm, bool checkpoint_activations)
      : layers_(std::move(layers)), norm_(std::move(norm)), checkpoint_(checkpoint_activations) {}

  Var forward(const Var& x, const Var& encoder_out, ForwardContext& ctx);  // [rows, d] -> [rows, d]
  bool evolve(int64_t update);  // true when the set of parameters changed
  void visit(ParamVisitor& v) override;

 private:
  std::vector<Layer> layers_;
  std::optional<LayerNorm> norm_;
  bool checkpoint_;
};

}  // namespace switchyard
