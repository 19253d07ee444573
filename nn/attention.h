// Multi-head attention (Vaswani et al. 2017): softmax(scale q k^T + bias) v for each head, between four
// linear maps. Head width, scale and bias are free (T5: scale 1, shared bias, heads x d_kv unlike d).
// While decoding, keys and values of earlier positions come from ctx.decode, found by the module's path;
// those of the encoder are computed once for each sentence and shared by its hypotheses.
#pragma once
#include <ranges>

#include "nn/context.h"
#include "nn/layers.h"

namespace switchyard {

struct AttentionOptions {
  enum Keys { All, Earlier, Encoder };  // Earlier: causal; Encoder: cross-attention
  Keys keys = All;
  int64_t width = 0;  // d of the stream
  int64_t heads = 1;
  int64_t head_width = 0;  // D; 0: width / heads
  double scale = 0;        // 0: 1 / sqrt(D)
  double dropout = 0;      // on the probabilities
  bool linear_bias = true;
  DType dtype = DType::F32;
};

struct KeyValue {
  Tensor k, v;              // [B, T_so_far * H*D]
  bool of_encoder = false;  // one row for each sentence, shared by its hypotheses
};
struct DecodeState {                      // incremental decoding: one token per call
  int64_t position = 0;                   // of the next token
  int64_t beams = 1;                      // hypotheses (stream rows) of each sentence
  std::map<std::string, KeyValue> cache;  // by attention path
  // Beam search: row i continues old row index[i].
  void reorder(const std::vector<int64_t>& index) {
    // A sentence's hypotheses stay together, so the first of each group names the sentence.
    std::vector<int64_t> sentences;
    for (size_t i = 0; i < index.size(); i += size_t(beams)) sentences.push_back(index[i] / beams);
    for (auto& [path, kv] : cache) {
      const auto& take = kv.of_encoder ? sentences : index;
      if (std::ranges::equal(take, std::views::iota(int64_t(0), kv.k.dim(0)))) continue;
      kv.k = gathered(kv.k, Tensor::of(take));
      kv.v = gathered(kv.v, Tensor::of(take));
    }
  }
};

class Attention : public Module {
 public:
  explicit Attention(AttentionOptions options)
      : options_(complete(std::move(options))),
        q_(projection(options_)),
        k_(projection(options_)),
        v_(projection(options_)),
        out_(map(options_, options_.heads * options_.head_width, options_.width, 1, {})) {}

  // x: rows of ctx.layout; encoder_out: rows of ctx.source_layout. position_bias [H, T, T] or undefined.
  Var forward(const Var& x, const Var& encoder_out, ForwardContext& ctx,
              const Var& position_bias = {}) const {
    const bool cross = options_.keys == AttentionOptions::Encoder;
    const RowLayout& key_rows = cross ? ctx.source_layout : ctx.layout;
    AttentionSpec spec{.batch = key_rows.batch,
                       .time_q = ctx.layout.time,
                       .time_k = key_rows.time,
                       .heads = options_.heads,
                       .causal = options_.keys == AttentionOptions::Earlier,
                       .scale = options_.scale,
                       .dropout = ctx.training ? options_.dropout : 0.0};
    const Var& memory = cross ? encoder_out : x;
    const Var q = q_.forward(x);  // [B*T, H*D]
    Var k, v;                     // [B*Tk, H*D]
    if (!ctx.decode) {
      k = k_.forward(memory);
      v = v_.forward(memory);
    } else {
      KeyValue& cache = ctx.decode->cache[ctx.path];
      if (!cross || !cache.k.defined())
        cache = {append(cache.k, k_.forward(memory).data(), spec.batch),
                 append(cache.v, v_.forward(memory).data(), spec.batch), cross};
      if (cross) spec.time_q = ctx.decode->beams;  // a sentence's hypotheses are its queries
      else spec.time_k = ctx.decode->position + 1;
      k = Var(cache.k.reshape({spec.batch * spec.time_k, q.dim(1)}));
      v = Var(cache.v.reshape({spec.batch * spec.time_k, q.dim(1)}));
    }
    const Tensor padding = ctx.decode && !cross ? Tensor() : key_rows.padding;
    const Var y = attention(q, k, v, padding, position_bias, spec, ctx.random("attention_dropout"));
    return out_.forward(y);  // [B*T, d]
  }
  void visit(ParamVisitor& v) override {
    v("q", q_);
    v("k", k_);
    v("v", v_);
    v("out", out_);
  }

 private:
  static AttentionOptions complete(AttentionOptions o) {
    check(o.head_width > 0 || o.width % o.heads == 0,
          concat("attention of width ", o.width, " does not split into ", o.heads, " heads"));
    if (o.head_width == 0) o.head_width = o.width / o.heads;
    if (o.scale == 0) o.scale = 1.0 / std::sqrt(double(o.head_width));
    return o;
  }

  static Linear map(const AttentionOptions& o, int64_t in, int64_t out, double gain, Init bias) {
    return Linear(in, out, xavier_uniform(in, out, gain),
                  o.linear_bias ? std::optional(bias) : std::nullopt, o.dtype);
  }

  static Linear projection(const AttentionOptions& o) {  // of q, k, v
    return map(o, o.width, o.heads * o.head_width, std::sqrt(0.5), fan_in_uniform(o.width));
  }

  // The rows [batch, c] of one more position behind cache [batch, T * c]; the first call brings T of them
  static Tensor append(const Tensor& cache, const Tensor& rows, int64_t batch) {
    if (!cache.defined()) return rows.reshape({batch, rows.numel() / std::max<int64_t>(1, batch)});
    const int64_t width = rows.dim(1), time = cache.dim(1) / width;
    std::vector<int64_t> order;  // of the old rows followed by the new ones
    for (int64_t b = 0; b < batch; ++b) {
      for (int64_t t = 0; t < time; ++t) order.push_back(b * time + t);
      order.push_back(batch * time + b);
    }
    const Var all = concat_rows({Var(cache.reshape({batch * time, width})), Var(rows)});
    return gathered(all.data(), Tensor::of(order)).reshape({batch, (time + 1) * width});
  }

  AttentionOptions options_;
  Linear q_, k_, v_, out_;
};

}  // namespace switchyard
