// Linear: y = x W^T + b, W [out, in]. Weight and bias start as U(+-1/sqrt(in)) unless told otherwise.
#pragma once
#include <optional>

#include "autograd/ops.h"
#include "nn/init.h"

namespace switchyard {

class Linear : public Module {
 public:
  // bias: no value = none
  Linear(int64_t in, int64_t out, Init weight_init, std::optional<Init> bias_init, DType dtype)
      : weight(make_param({out, in}, weight_init, dtype)) {
    if (bias_init) bias = make_param({out}, *bias_init, dtype);
  }
  Linear(int64_t in, int64_t out, DType dtype)
      : Linear(in, out, fan_in_uniform(in), fan_in_uniform(in), dtype) {}

  Var forward(const Var& x) const {
    return linear(x, weight.var, bias.var);
  }  // [n, in] -> [n, out]
  void visit(ParamVisitor& v) override {
    v("weight", weight);
    if (bias.var.defined()) v("bias", bias);
  }

  Param weight, bias;
};

}  // namespace switchyard
