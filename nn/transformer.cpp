#include "nn/transformer.h"

#include <algorithm>
#include <cmath>

#include "nn/residual.h"

namespace switchyard {
namespace {

AttentionOptions attention_options(const ModelConfig& c, bool decoder, DType dtype) {
  AttentionOptions o;
  o.width = c.encoder_embed_dim;
  o.heads = decoder ? c.decoder_attention_heads : c.encoder_attention_heads;
  o.dropout = c.attention_dropout;
  o.dtype = dtype;
  return o;
}

RowLayout layout_of(const Tensor& ids, int64_t pad) {
  RowLayout rows{ids.dim(0), ids.dim(1), {}};
  const int64_t* id = ids.data<int64_t>();
  if (std::find(id, id + ids.numel(), pad) == id + ids.numel()) return rows;
  rows.padding = Tensor::empty({ids.numel()}, DType::U8);
  std::transform(id, id + ids.numel(), rows.padding.data<uint8_t>(),
                 [pad](int64_t i) { return uint8_t(i == pad); });
  return rows;
}

}  // namespace

void ModelConfig::validate() const {
  const auto at_least = [](int value, int least, const char* name) {
    user_check(value >= least, concat("--", name, " is ", value, ": expected at least ", least));
  };
  at_least(encoder_layers, 1, "encoder-layers");
  at_least(decoder_layers, 1, "decoder-layers");
  at_least(encoder_embed_dim, 2, "encoder-embed-dim");
  at_least(encoder_ffn_embed_dim, 1, "encoder-ffn-embed-dim");
  at_least(decoder_ffn_embed_dim, 1, "decoder-ffn-embed-dim");
  at_least(encoder_attention_heads, 1, "encoder-attention-heads");
  at_least(decoder_attention_heads, 1, "decoder-attention-heads");
  user_check(encoder_embed_dim == decoder_embed_dim,
             concat("--decoder-embed-dim is ", decoder_embed_dim, " and --encoder-embed-dim is ",
                    encoder_embed_dim, ": they share one embedding; give both the same value"));
  user_check(share_all_embeddings,
             "--share-all-embeddings 0: separate embeddings are not supported; use 1");
  const auto divides = [&](int heads, const char* name) {
    user_check(
        encoder_embed_dim % heads == 0,
        concat("--", name, " is ", heads, ": must divide the embedding width ", encoder_embed_dim));
  };
  divides(encoder_attention_heads, "encoder-attention-heads");
  divides(decoder_attention_heads, "decoder-attention-heads");
  const auto rate = [](double p, const char* name) {
    user_check(p >= 0 && p < 1, concat("--", name, " is ", p, ": expected 0 <= rate < 1"));
  };
  rate(dropout, "dropout");
  rate(attention_dropout, "attention-dropout");
  rate(activation_dropout, "activation-dropout");
  activation_by_name(activation_fn);
}

FeedForwardOptions ModelConfig::feed_forward(bool decoder, DType dtype) const {
  return {encoder_embed_dim, decoder ? decoder_ffn_embed_dim : encoder_ffn_embed_dim,
          activation_by_name(activation_fn), activation_dropout, dtype};
}

std::unique_ptr<SubBlock> make_dense_ffn(const ModelConfig& config, const LayerPlace& place,
                                         DType dtype) {
  return std::make_unique<FeedForward>(config.feed_forward(place.decoder, dtype),
                                       config.block(place.decoder));
}

Transformer::Transformer(const ModelConfig& config, int64_t vocabulary,
                         const FeedForwardFactory& feed_forward, DType dtype, int64_t pad)
    : config_((config.validate(), config)),
      dtype_(dtype),
      pad_(pad),
      embed_(vocabulary, config.encoder_embed_dim, pad, dtype),
      positions_(config.encoder_embed_dim, pad, dtype),
      encoder_(make_stack(false, feed_forward)),
      decoder_(make_stack(true, feed_forward)) {}

Stack Transformer::make_stack(bool decoder, const FeedForwardFactory& feed_forward) const {
  const AttentionOptions attention = attention_options(config_, decoder, dtype_);
  const BlockOptions block = config_.block(decoder);
  std::vector<Layer> layers(decoder ? config_.decoder_layers : config_.encoder_layers);
  for (size_t i = 0; i < layers.size(); ++i) {
    auto& blocks = layers[i].blocks;
    blocks.push_back(std::make_unique<SelfAttentionBlock>(attention, block, decoder));
    if (decoder) blocks.push_back(std::make_unique<CrossAttentionBlock>(attention, block));
    blocks.push_back(feed_forward(LayerPlace{decoder, int(i)}));
  }
  std::optional<LayerNorm> norm;
  if (block.pre_norm) norm.emplace(attention.width, dtype_);
  return Stack(std::move(layers), std::move(norm), config_.checkpoint_activations);
}

// drop(sqrt(M) E[ids] + positions)
Var Transformer::embed(const Tensor& ids, ForwardContext& ctx) {
  ctx.token_ids = ids.reshape({ids.numel()});
  ctx.layout = layout_of(ids, pad_);
  const Var scaled =
      scale(embed_.forward(ctx.token_ids), std::sqrt(double(config_.encoder_embed_dim)));
  const Tensor positions =
      ctx.decode ? positions_.at(ids.numel(), ctx.decode->position) : positions_.forward(ids);
  return drop(add(scaled, Var(positions)), config_.dropout, "dropout", ctx);  // [rows, M]
}

Var Transformer::encode(const Tensor& source, ForwardContext& ctx) {
  check(source.rank() == 2, concat("encode expects [B, T], got ", to_string(source.shape())));
  check(!ctx.decode, "encode before ctx.decode is set");
  Scope scope(ctx, "encoder");
  Var x = embed(source, ctx);
  if (const Tensor& padding = ctx.layout.padding; padding.defined()) {
    Tensor keep = Tensor::empty({padding.numel()}, DType::F64);
    std::transform(padding.data<uint8_t>(), padding.data<uint8_t>() + padding.numel(),
                   keep.data<double>(), [](uint8_t p) { return 1.0 - p; });
    x = scale_rows(x, Var(keep.to(dtype_)));
  }
  const RowLayout rows = ctx.layout;
  x = encoder_.forward(x, {}, ctx);
  ctx.source_layout = rows;
  return x;
}

Var Transformer::decode(const Tensor& decoder_input, const Var& encoder_out, ForwardContext& ctx) {
  check(decoder_input.rank() == 2 && (!ctx.decode || decoder_input.dim(1) == 1),
        concat("decode expects [B, T] (one column while generating), got ",
               to_string(decoder_input.shape())));
  Scope scope(ctx, "decoder");
  const Var x = decoder_.forward(embed(decoder_input, ctx), encoder_out, ctx);
  if (ctx.decode) ++ctx.decode->position;
  return embed_.project(x);
}

bool Transformer::evolve(int64_t update) {
  const bool encoder_changed = encoder_.evolve(update), decoder_changed = decoder_.evolve(update);
  return encoder_changed || decoder_changed;
}

void Transformer::visit(ParamVisitor& v) {
  v("embed", embed_);
  v("encoder", encoder_);
  v("decoder", decoder_);
}

}  // namespace switchyard
