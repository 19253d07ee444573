// LayerNorm (Ba et al. 2016): y = (x - mean) / sqrt(var + eps) * w + b along the last dimension.
#pragma once
#include "autograd/ops.h"
#include "nn/module.h"

namespace switchyard {

class LayerNorm : public Module {
 public:
  explicit LayerNorm(int64_t width, DType dtype = DType::F32)
      : weight(make_param({width}, Init::ones(), dtype)),
        bias(make_param({width}, Init::zeros(), dtype)) {}

  Var forward(const Var& x) const { return layer_norm(x, weight.var, bias.var); }
  void visit(ParamVisitor& v) override {
    v("weight", weight);
    v("bias", bias);
  }

  Param weight, bias;
};

}  // namespace switchyard
