#include "nn/transformer.h"

#include <algorithm>

namespace switchyard {

RowLayout layout_of(const Tensor& ids, int64_t pad) {
  std::vector<uint8_t> padding(size_t(ids.numel()));
  const int64_t* id = ids.data<int64_t>();
  std::transform(id, id + ids.numel(), padding.begin(), [pad](int64_t i) { return i == pad; });
  const bool any = std::ranges::count(padding, 1) > 0;
  return {ids.dim(0), ids.dim(1), any ? Tensor::of(padding) : Tensor()};
}

namespace {

// Visits a ModelConfig: sizes are at least 1, dropout rates in [0, 1)
struct RangeCheck {
  int width;  // of the stream
  void group(const char*) {}
  void operator()(int size, const std::string& name, const char*) {
    const std::string what = concat("--", name, " is ", size, ": ");
    user_check(size >= 1, what + "expected at least 1");
    user_check(!name.ends_with("heads") || width % size == 0,
               concat(what, "must divide the embedding width ", width));
  }
  void operator()(double rate, const std::string& name, const char*) {
    user_check(rate >= 0 && rate < 1, concat("--", name, " is ", rate, ": expected 0 <= rate < 1"));
  }
  void operator()(bool, const std::string&, const char*) {}
  void operator()(const std::string&, const std::string&, const char*, std::vector<std::string>) {}
};

// The frame of a sub-block with the options of the encoder or decoder
template <class F>
std::unique_ptr<SubBlock> residual(const ModelConfig& c, bool decoder, const char* name, F f,
                                   DType dtype) {
  return std::make_unique<Residual<F>>(name, std::move(f), LayerNorm(c.encoder_embed_dim, dtype),
                                       c.normalize_before(decoder), c.dropout);
}

}  // namespace

void ModelConfig::validate() const {
  ModelConfig(*this).visit(RangeCheck{encoder_embed_dim});
  user_check(encoder_embed_dim == decoder_embed_dim,
             concat("--decoder-embed-dim is ", decoder_embed_dim, " and --encoder-embed-dim is ",
                    encoder_embed_dim, ": they share one embedding; give both the same value"));
  user_check(share_all_embeddings,
             "--share-all-embeddings 0: separate embeddings are not supported; use 1");
  activation_by_name(activation_fn);
}

std::unique_ptr<SubBlock> make_dense_ffn(const ModelConfig& c, bool decoder, DType dtype) {
  return residual(c, decoder, "ffn", FeedForward(c.feed_forward(decoder, dtype)), dtype);
}

Transformer::Transformer(const ModelConfig& config, int64_t vocabulary,
                         const FeedForwardFactory& feed_forward, DType dtype, int64_t pad)
    : config_((config.validate(), config)),
      dtype_(dtype),
      embed_(vocabulary, config.encoder_embed_dim, pad, dtype),
      positions_(config.encoder_embed_dim, pad, dtype),
      encoder_(make_stack(false, feed_forward)),
      decoder_(make_stack(true, feed_forward)) {}

Stack Transformer::make_stack(bool decoder, const FeedForwardFactory& feed_forward) const {
  const ModelConfig& c = config_;
  Stack::Blocks blocks;
  for (int i = 0; i < (decoder ? c.decoder_layers : c.encoder_layers); ++i) {
    const auto attention = [&](const char* name, AttentionOptions::Keys keys) {
      const int heads = decoder ? c.decoder_attention_heads : c.encoder_attention_heads;
      const Attention f({.keys = keys,
                         .width = c.encoder_embed_dim,
                         .heads = heads,
                         .dropout = c.attention_dropout,
                         .dtype = dtype_});
      blocks.emplace_back(i, residual(c, decoder, name, f, dtype_));
    };
    attention("self_attn", decoder ? AttentionOptions::Earlier : AttentionOptions::All);
    if (decoder) attention("cross_attn", AttentionOptions::Encoder);
    blocks.emplace_back(i, feed_forward(decoder, i));
  }
  std::optional<LayerNorm> norm;
  if (c.normalize_before(decoder)) norm.emplace(c.encoder_embed_dim, dtype_);
  return Stack(std::move(blocks), norm, c.checkpoint_activations);
}

// drop(sqrt(M) E[ids] + positions)
Var Transformer::embed(const Tensor& ids, ForwardContext& ctx) {
  ctx.token_ids = ids.reshape({ids.numel()});
  ctx.layout = layout_of(ids, embed_.pad);
  const double root = std::sqrt(double(config_.encoder_embed_dim));
  const Tensor positions = positions_.forward(ids, ctx.decode ? ctx.decode->position : 0);
  const Var x = add(scale(embed_.forward(ctx.token_ids), root), Var(positions));  // [rows, M]
  return drop(x, config_.dropout, "dropout", ctx);
}

Var Transformer::encode(const Tensor& source, ForwardContext& ctx) {
  check(!ctx.decode, "encode before ctx.decode is set");
  Scope scope(ctx, "encoder");
  Var x = embed(source, ctx);
  ctx.source_layout = ctx.layout;
  if (const Tensor& padding = ctx.layout.padding; padding.defined()) {
    Tensor keep = Tensor::full({padding.numel()}, 1, dtype_);  // 1 - padding
    axpy(-1, padding.to(dtype_), keep);
    x = scale_rows(x, Var(keep));
  }
  return encoder_.forward(x, {}, ctx);
}

Var Transformer::decode(const Tensor& decoder_input, const Var& encoder_out, ForwardContext& ctx) {
  check(!ctx.decode || decoder_input.dim(1) == 1, "while generating, decode takes one token");
  Scope scope(ctx, "decoder");
  const Var x = decoder_.forward(embed(decoder_input, ctx), encoder_out, ctx);
  if (ctx.decode) ++ctx.decode->position;
  return embed_.project(x);
}

void Transformer::visit(ParamVisitor& v) {
  v("embed", embed_);
  v("encoder", encoder_);
  v("decoder", decoder_);
}

}  // namespace switchyard
