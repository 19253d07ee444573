// Adam (Kingma & Ba 2015) in fairseq's form, and AdamW (Loshchilov & Hutter 2019); equations in
// tensor/kernels.h. Moments and step counter are kept for each parameter and found by its path, so that a
// model may gain and lose parameters between updates, and a checkpoint holds them under the same names.
#pragma once
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "nn/module.h"
#include "nn/schedule.h"

namespace switchyard {

std::pair<double, double> parse_betas(const std::string& text);  // "(0.9, 0.98)"; UserError

// Factor that brings a gradient norm down to `limit`; 1 without a limit (0).
double clip_factor(double norm, double limit);

class Optimizer {
 public:
  struct Slot {
    Tensor m, v;       // of the parameter's shape and dtype
    int64_t step = 0;  // updates this parameter has had
  };

  explicit Optimizer(const OptimConfig& config);

  // What to train; again whenever the set of parameters changed. State of paths that are gone is dropped.
  void set_parameters(std::vector<NamedParam> params);
  // One update with the gradients times gradient_scale (1/N times the clipping factor). A parameter
  // without a gradient counts as zeros: its moments decay. Gradients are left as they are.
  void step(double lr, double gradient_scale);

  // The state by path, for checkpoints. slot(): that of parameter p, empty if it had none.
  Slot& slot(const std::string& path, const Param& p);
  template <class F>
  void visit_state(F&& fn) {  // fn(path, Slot&), by path
    for (auto& [path, s] : slots_) fn(path, s);
  }

 private:
  OptimConfig config_;
  double beta1_, beta2_;
  std::vector<NamedParam> params_;
  std::map<std::string, Slot> slots_;
};

}  // namespace switchyard
