#include "nn/attention.h"

#include <cmath>

namespace switchyard {
namespace {

int64_t inner_width(const AttentionOptions& o) {
  return o.heads * (o.head_width ? o.head_width : o.width / o.heads);
}

Linear projection(const AttentionOptions& o) {  // of q, k, v
  const std::optional<Init> bias = fan_in_uniform(o.width);
  return Linear(o.width, inner_width(o), xavier_uniform(o.width, inner_width(o), std::sqrt(0.5)),
                o.linear_bias ? bias : std::nullopt, o.dtype);
}

// [B, T, c] and one more row for each sentence [B, c] -> [B, T + 1, c]
Tensor append(const Tensor& cache, const Tensor& row) {
  const int64_t batch = row.dim(0), width = row.dim(1), time = cache.defined() ? cache.dim(1) : 0;
  if (time == 0) return row.reshape({batch, 1, width});
  std::vector<int64_t> old_rows, new_rows;
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t t = 0; t < time; ++t) old_rows.push_back(b * (time + 1) + t);
    new_rows.push_back(b * (time + 1) + time);
  }
  Tensor y = Tensor::zeros({batch, time + 1, width}, row.dtype());
  Tensor flat = y.reshape({batch * (time + 1), width});
  scatter_add_rows(cache.reshape({batch * time, width}), Tensor::of(old_rows), flat);
  scatter_add_rows(row, Tensor::of(new_rows), flat);
  return y;
}

Var rows_of(const Tensor& cache) {
  return Var(cache.reshape({cache.dim(0) * cache.dim(1), cache.dim(2)}));
}

}  // namespace

Attention::Attention(const AttentionOptions& o)
    : options_(o),
      q_(projection(o)),
      k_(projection(o)),
      v_(projection(o)),
      out_(inner_width(o), o.width, xavier_uniform(inner_width(o), o.width),
           o.linear_bias ? std::optional<Init>(Init::zeros()) : std::nullopt, o.dtype) {
  check(o.head_width > 0 || o.width % o.heads == 0,
        concat("attention of width ", o.width, " does not split into ", o.heads, " heads"));
  if (options_.scale == 0) options_.scale = 1.0 / std::sqrt(double(inner_width(o) / o.heads));
}

Var Attention::attend(const Var& q, const Var& k, const Var& v, const Tensor& key_padding,
                      const Var& bias, AttentionSpec spec, ForwardContext& ctx) const {
  spec.heads = options_.heads;
  spec.scale = options_.scale;
  spec.dropout = ctx.training ? options_.dropout : 0.0;
  const Tensor padding =
      key_padding.defined() ? key_padding.reshape({spec.batch, spec.time_k}) : Tensor();
  return out_.forward(
      attention(q, k, v, padding, bias, spec, ctx.random("attention_dropout")));  // [B*Tq, d]
}

Var Attention::self(const Var& x, bool causal, ForwardContext& ctx,
                    const Var& position_bias) const {
  const RowLayout& rows = ctx.layout;
  AttentionSpec spec{};
  spec.batch = rows.batch;
  spec.time_q = spec.time_k = rows.time;
  spec.causal = causal;
  const Var q = q_.forward(x), k = k_.forward(x), v = v_.forward(x);  // [B*T, H*D]
  if (!ctx.decode) return attend(q, k, v, rows.padding, position_bias, spec, ctx);
  KeyValue& cache = ctx.decode->cache[ctx.path];
  cache.k = append(cache.k, k.data());
  cache.v = append(cache.v, v.data());
  spec.time_k = cache.k.dim(1);
  return attend(q, rows_of(cache.k), rows_of(cache.v), {}, position_bias, spec, ctx);
}

Var Attention::cross(const Var& x, const Var& memory, ForwardContext& ctx) const {
  AttentionSpec spec{};
  spec.batch = ctx.source_layout.batch;
  spec.time_k = ctx.source_layout.time;
  spec.time_q = ctx.layout.time;
  const Tensor& padding = ctx.source_layout.padding;
  const Var q = q_.forward(x);
  if (!ctx.decode) return attend(q, k_.forward(memory), v_.forward(memory), padding, {}, spec, ctx);
  KeyValue& cache = ctx.decode->cache[ctx.path];
  if (!cache.k.defined()) {
    const Shape shape{spec.batch, spec.time_k, inner_width(options_)};
    cache = {k_.forward(memory).data().reshape(shape), v_.forward(memory).data().reshape(shape),
             true};
  }
  spec.time_q = ctx.decode->beams;  // a sentence's hypotheses are its queries
  return attend(q, rows_of(cache.k), rows_of(cache.v), padding, {}, spec, ctx);
}

void Attention::visit(ParamVisitor& v) {
  v("q", q_);
  v("k", k_);
  v("v", v_);
  v("out", out_);
}

}  // namespace switchyard
