#include "moe/experts.h"

#include "autograd/ops.h"

namespace switchyard::moe {

Experts::Experts(const dist::ExpertLayout& layout, int rank, const FeedForwardOptions& options)
    : options_(options) {
  const int64_t M = options.width, F = options.hidden, local = layout.num_local();
  const auto param = [&](Shape shape, int64_t fan_in) {
    return make_expert_param(std::move(shape), fan_in_uniform(fan_in), layout.first_expert(rank),
                             layout.num_experts, options.dtype);
  };
  fc1_weight = param({local, F, M}, M);
  fc1_bias = param({local, F}, M);
  fc2_weight = param({local, M, F}, F);
  fc2_bias = param({local, M}, F);
}

Var Experts::forward(const Dispatched& in, ForwardContext& ctx) const {
  Var h = options_.activation(
      grouped_linear(in.rows, in.offsets, fc1_weight.var, fc1_bias.var));  // [R, F]
  if (ctx.training && options_.activation_dropout > 0)
    h = dropout(h, options_.activation_dropout, ctx.random("activation_dropout"), in.ids);
  return grouped_linear(h, in.offsets, fc2_weight.var, fc2_bias.var);
}

void Experts::visit(ParamVisitor& v) {
  v("fc1/weight", fc1_weight);
  v("fc1/bias", fc1_bias);
  v("fc2/weight", fc2_weight);
  v("fc2/bias", fc2_bias);
}

}  // namespace switchyard::moe
