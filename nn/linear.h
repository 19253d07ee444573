// Linear: y = x W^T + b, W [out, in]. Weight and bias start as U(+-1/sqrt(in)) unless told otherwise.
#pragma once
#include <optional>

#include "nn/init.h"

namespace switchyard {

class Linear : public Module {
 public:
  // bias: no value = none
  Linear(int64_t in, int64_t out, Init weight, std::optional<Init> bias, DType dtype = DType::F32);
  Linear(int64_t in, int64_t out, DType dtype = DType::F32)
      : Linear(in, out, fan_in_uniform(in), fan_in_uniform(in), dtype) {}

  Var forward(const Var& x) const;  // [n, in] -> [n, out]
  void visit(ParamVisitor& v) override;

  Param weight, bias;
};

}  // namespace switchyard
