#include "nn/linear.h"

#include "autograd/ops.h"

namespace switchyard {

Linear::Linear(int64_t in, int64_t out, Init weight_init, std::optional<Init> bias_init,
               DType dtype)
    : weight(make_param({out, in}, weight_init, dtype)) {
  if (bias_init) bias = make_param({out}, *bias_init, dtype);
}

Var Linear::forward(const Var& x) const { return linear(x, weight.var, bias.var); }

void Linear::visit(ParamVisitor& v) {
  v("weight", weight);
  if (bias.var.defined()) v("bias", bias);
}

}  // namespace switchyard
