#include "nn/attention.h"

#include <cmath>

namespace switchyard {
namespace {

AttentionOptions complete(AttentionOptions o) {
  check(o.head_width > 0 || o.width % o.heads == 0,
        concat("attention of width ", o.width, " does not split into ", o.heads, " heads"));
  if (o.head_width == 0) o.head_width = o.width / o.heads;
  if (o.scale == 0) o.scale = 1.0 / std::sqrt(double(o.head_width));
  return o;
}

Linear projection(const AttentionOptions& o) {  // of q, k, v
  const int64_t inner = o.heads * o.head_width;
  const std::optional<Init> bias = fan_in_uniform(o.width);
  return Linear(o.width, inner, xavier_uniform(o.width, inner, std::sqrt(0.5)),
                o.linear_bias ? bias : std::nullopt, o.dtype);
}

Linear output(const AttentionOptions& o) {
  const int64_t inner = o.heads * o.head_width;
  const std::optional<Init> bias = Init::zeros();
  return Linear(inner, o.width, xavier_uniform(inner, o.width), o.linear_bias ? bias : std::nullopt,
                o.dtype);
}

Var rows_of(const Tensor& cache) {  // [B, T, c] -> [B*T, c]
  return Var(cache.reshape({cache.dim(0) * cache.dim(1), cache.dim(2)}));
}

// cache [B, T, c] or undefined, rows of B sentences x `more` positions -> [B, T + more, c]
Tensor append(const Tensor& cache, const Var& rows, int64_t batch, int64_t more) {
  const int64_t width = rows.dim(1), time = cache.defined() ? cache.dim(1) : 0;
  if (time == 0) return rows.data().reshape({batch, more, width});
  std::vector<int64_t> order;  // of the old rows followed by the new ones
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t t = 0; t < time; ++t) order.push_back(b * time + t);
    for (int64_t t = 0; t < more; ++t) order.push_back(batch * time + b * more + t);
  }
  const Var all = gather_rows(concat_rows({rows_of(cache), rows}), Tensor::of(order));
  return all.data().reshape({batch, time + more, width});
}

}  // namespace

Attention::Attention(AttentionOptions options)
    : options_(complete(std::move(options))),
      q_(projection(options_)),
      k_(projection(options_)),
      v_(projection(options_)),
      out_(output(options_)) {}

Var Attention::forward(const Var& x, const Var& encoder_out, ForwardContext& ctx,
                       const Var& position_bias) const {
  const bool cross = options_.keys == AttentionOptions::Encoder;
  const RowLayout& key_rows = cross ? ctx.source_layout : ctx.layout;
  AttentionSpec spec{.batch = key_rows.batch,
                     .time_q = ctx.layout.time,
                     .time_k = key_rows.time,
                     .heads = options_.heads,
                     .causal = options_.keys == AttentionOptions::Earlier,
                     .scale = options_.scale,
                     .dropout = ctx.training ? options_.dropout : 0.0};
  Tensor padding = key_rows.padding;
  const Var& memory = cross ? encoder_out : x;
  const Var q = q_.forward(x);  // [B*T, H*D]
  Var k, v;
  if (!ctx.decode) {
    k = k_.forward(memory);
    v = v_.forward(memory);
  } else {
    KeyValue& cache = ctx.decode->cache[ctx.path];
    if (!cross || !cache.k.defined()) {
      cache.k = append(cache.k, k_.forward(memory), spec.batch, spec.time_k);
      cache.v = append(cache.v, v_.forward(memory), spec.batch, spec.time_k);
      cache.of_encoder = cross;
    }
    spec.time_k = cache.k.dim(1);
    if (cross) spec.time_q = ctx.decode->beams;  // a sentence's hypotheses are its queries
    else padding = {};
    k = rows_of(cache.k);
    v = rows_of(cache.v);
  }
  if (padding.defined()) padding = padding.reshape({spec.batch, spec.time_k});
  const Var y = attention(q, k, v, padding, position_bias, spec, ctx.random("attention_dropout"));
  return out_.forward(y);  // [B*T, d]
}

void Attention::visit(ParamVisitor& v) {
  v("q", q_);
  v("k", k_);
  v("v", v_);
  v("out", out_);
}

}  // namespace switchyard
