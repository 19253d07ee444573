#include "nn/transformer.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace switchyard {
namespace {

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
  const std::tuple<const char*, int, int> counts[] = {
      {"encoder-layers", encoder_layers, 1},
      {"decoder-layers", decoder_layers, 1},
      {"encoder-embed-dim", encoder_embed_dim, 2},
      {"encoder-ffn-embed-dim", encoder_ffn_embed_dim, 1},
      {"decoder-ffn-embed-dim", decoder_ffn_embed_dim, 1},
      {"encoder-attention-heads", encoder_attention_heads, 1},
      {"decoder-attention-heads", decoder_attention_heads, 1}};
  for (const auto& [name, value, least] : counts)
    user_check(value >= least, concat("--", name, " is ", value, ": expected at least ", least));
  const std::pair<const char*, int> divisors[] = {
      {"encoder-attention-heads", encoder_attention_heads},
      {"decoder-attention-heads", decoder_attention_heads}};
  for (const auto& [name, heads] : divisors)
    user_check(
        encoder_embed_dim % heads == 0,
        concat("--", name, " is ", heads, ": must divide the embedding width ", encoder_embed_dim));
  user_check(encoder_embed_dim == decoder_embed_dim,
             concat("--decoder-embed-dim is ", decoder_embed_dim, " and --encoder-embed-dim is ",
                    encoder_embed_dim, ": they share one embedding; give both the same value"));
  user_check(share_all_embeddings,
             "--share-all-embeddings 0: separate embeddings are not supported; use 1");
  const std::pair<const char*, double> rates[] = {{"dropout", dropout},
                                                  {"attention-dropout", attention_dropout},
                                                  {"activation-dropout", activation_dropout}};
  for (const auto& [name, rate] : rates)
    user_check(rate >= 0 && rate < 1, concat("--", name, " is ", rate, ": expected 0 <= rate < 1"));
  activation_by_name(activation_fn);
}

std::unique_ptr<SubBlock> make_dense_ffn(const ModelConfig& c, const LayerPlace& place,
                                         DType dtype) {
  return std::make_unique<Residual<FeedForward>>(
      "ffn", FeedForward(c.feed_forward(place.decoder, dtype)),
      LayerNorm(c.encoder_embed_dim, dtype), c.block(place.decoder));
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
  const int64_t width = config_.encoder_embed_dim;
  const BlockOptions block = config_.block(decoder);
  const auto attention = [&](const char* name, AttentionOptions::Keys keys) {
    const int heads = decoder ? config_.decoder_attention_heads : config_.encoder_attention_heads;
    const AttentionOptions options{.keys = keys,
                                   .width = width,
                                   .heads = heads,
                                   .dropout = config_.attention_dropout,
                                   .dtype = dtype_};
    return std::make_unique<Residual<Attention>>(name, Attention(options), LayerNorm(width, dtype_),
                                                 block);
  };
  std::vector<Layer> layers(decoder ? config_.decoder_layers : config_.encoder_layers);
  for (size_t i = 0; i < layers.size(); ++i) {
    auto& blocks = layers[i].blocks;
    blocks.push_back(
        attention("self_attn", decoder ? AttentionOptions::Earlier : AttentionOptions::All));
    if (decoder) blocks.push_back(attention("cross_attn", AttentionOptions::Encoder));
    blocks.push_back(feed_forward(LayerPlace{decoder, int(i)}));
  }
  std::optional<LayerNorm> norm;
  if (block.pre_norm) norm.emplace(width, dtype_);
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
    Tensor keep = Tensor::full({padding.numel()}, 1, dtype_);  // 1 - padding
    axpy(-1, padding.to(dtype_), keep);
    x = scale_rows(x, Var(keep));
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
  const bool encoder_changed = encoder_.evolve(update);
  return decoder_.evolve(update) || encoder_changed;
}

void Transformer::visit(ParamVisitor& v) {
  v("embed", embed_);
  v("encoder", encoder_);
  v("decoder", decoder_);
}

}  // namespace switchyard
