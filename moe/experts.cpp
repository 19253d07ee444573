#include "moe/experts.h"

#include "autograd/ops.h"
#include "nn/init.h"

namespace switchyard::moe {

Experts::Experts(const dist::ExpertLayout& layout, int rank, int64_t width, int64_t hidden,
                 const std::string& activation, double activation_dropout, DType dtype)
    : first_(layout.first_expert(rank)),
      gelu_(activation == "gelu"),
      activation_dropout_(activation_dropout) {
  user_check(gelu_ || activation == "relu",
             concat("experts: activation is ", activation, ", expected relu or gelu"));
  const int64_t local = layout.num_local(), all = layout.num_experts;
  const Init in = fan_in_uniform(width), mid = fan_in_uniform(hidden);
  fc1_weight = make_expert_param({local, hidden, width}, in, first_, all, dtype);
  fc1_bias = make_expert_param({local, hidden}, in, first_, all, dtype);
  fc2_weight = make_expert_param({local, width, hidden}, mid, first_, all, dtype);
  fc2_bias = make_expert_param({local, width}, mid, first_, all, dtype);
}

Var Experts::forward(const Dispatched& in, ForwardContext& ctx) const {
  Var h = grouped_linear(in.rows, in.offsets, fc1_weight.var, fc1_bias.var);  // [R, F]
  h = gelu_ ? gelu(h) : relu(h);
  if (ctx.training && activation_dropout_ > 0)
    h = dropout(h, activation_dropout_, ctx.random("activation_dropout"), in.row_ids(first_));
  return grouped_linear(h, in.offsets, fc2_weight.var, fc2_bias.var);
}

void Experts::visit(ParamVisitor& v) {
  v("fc1/weight", fc1_weight);
  v("fc1/bias", fc1_bias);
  v("fc2/weight", fc2_weight);
  v("fc2/bias", fc2_bias);
}

}  // namespace switchyard::moe
