// The encoder-decoder transformer of specs/hmoe.md 2.11: one embedding for source, target and output,
// scaled by sqrt(M), plus sinusoidal positions; pre-norm layers; a norm after each stack.
// Which layers have an MoE block instead of the dense FFN is up to the caller's factory.
#pragma once
#include "nn/attention.h"
#include "nn/feed_forward.h"

namespace switchyard {

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

struct ModelConfig {
  int encoder_layers = 6, encoder_embed_dim = 512, encoder_ffn_embed_dim = 2048;
  int encoder_attention_heads = 8;
  int decoder_layers = 6, decoder_embed_dim = 512, decoder_ffn_embed_dim = 2048;
  int decoder_attention_heads = 8;
  bool encoder_normalize_before = true, decoder_normalize_before = true;
  bool share_all_embeddings = true, checkpoint_activations = false;
  std::string activation_fn = "relu";
  double dropout = 0.1, attention_dropout = 0.0, activation_dropout = 0.0;

  template <class V>
  void visit(V&& v) {
    v.group("Model");
    v(encoder_layers, "encoder-layers", "layers of the encoder");
    v(encoder_embed_dim, "encoder-embed-dim", "width of the encoder's stream");
    v(encoder_ffn_embed_dim, "encoder-ffn-embed-dim",
      "hidden width of the encoder's FFNs and experts");
    v(encoder_attention_heads, "encoder-attention-heads", "attention heads of the encoder");
    v(decoder_layers, "decoder-layers", "layers of the decoder");
    v(decoder_embed_dim, "decoder-embed-dim", "width of the decoder's stream; the encoder's too");
    v(decoder_ffn_embed_dim, "decoder-ffn-embed-dim",
      "hidden width of the decoder's FFNs and experts");
    v(decoder_attention_heads, "decoder-attention-heads", "attention heads of the decoder");
    v(encoder_normalize_before, "encoder-normalize-before", "pre-norm layers; 0 = post-norm");
    v(decoder_normalize_before, "decoder-normalize-before", "pre-norm layers; 0 = post-norm");
    v(share_all_embeddings, "share-all-embeddings",
      "one table for source, target and output; must be 1");
    v(activation_fn, "activation-fn", "activation of FFNs and experts", {"relu", "gelu"});
    v(dropout, "dropout", "dropout of embeddings and of each sub-block's output");
    v(attention_dropout, "attention-dropout", "dropout of attention probabilities");
    v(activation_dropout, "activation-dropout", "dropout after the activation of an FFN");
    v(checkpoint_activations, "checkpoint-activations",
      "keep only sub-block inputs; compute again in backward");
  }
  void validate() const {  // UserError for what cannot be built
    ModelConfig(*this).visit(RangeCheck{encoder_embed_dim});
    user_check(encoder_embed_dim == decoder_embed_dim,
               concat("--decoder-embed-dim is ", decoder_embed_dim, " and --encoder-embed-dim is ",
                      encoder_embed_dim, ": they share one embedding; give both the same value"));
    user_check(share_all_embeddings,
               "--share-all-embeddings 0: separate embeddings are not supported; use 1");
    activation_by_name(activation_fn);
  }

  bool normalize_before(bool decoder) const {
    return decoder ? decoder_normalize_before : encoder_normalize_before;
  }
  FeedForwardOptions feed_forward(bool decoder, DType dtype = DType::F32) const {
    return {encoder_embed_dim, decoder ? decoder_ffn_embed_dim : encoder_ffn_embed_dim,
            activation_by_name(activation_fn), activation_dropout, dtype};
  }
};

// The frame of a sub-block with the options of the encoder or decoder
template <class F>
std::unique_ptr<SubBlock> residual(const ModelConfig& c, bool decoder, const char* name, F f,
                                   DType dtype) {
  return std::make_unique<Residual<F>>(name, std::move(f), LayerNorm(c.encoder_embed_dim, dtype),
                                       c.normalize_before(decoder), c.dropout);
}

// Makes the feed-forward sub-block of a layer (from 0): a dense FFN, or an MoE block. Its parameters appear
// directly under the layer's path, so it names itself: "ffn", "ffn_norm", "moe".
using FeedForwardFactory = std::function<std::unique_ptr<SubBlock>(bool decoder, int layer)>;
inline std::unique_ptr<SubBlock> make_dense_ffn(const ModelConfig& c, bool decoder,
                                                DType dtype = DType::F32) {
  return residual(c, decoder, "ffn", FeedForward(c.feed_forward(decoder, dtype)), dtype);
}

inline RowLayout layout_of(const Tensor& ids, int64_t pad) {  // ids i64 [B, T]
  std::vector<uint8_t> padding(size_t(ids.numel()));
  const int64_t* id = ids.data<int64_t>();
  std::transform(id, id + ids.numel(), padding.begin(), [pad](int64_t i) { return i == pad; });
  const bool any = std::ranges::count(padding, 1) > 0;
  return {ids.dim(0), ids.dim(1), any ? Tensor::of(padding) : Tensor()};
}

class Transformer : public Module {
 public:
  Transformer(const ModelConfig& config, int64_t vocabulary, const FeedForwardFactory& feed_forward,
              DType dtype = DType::F32, int64_t pad = 1)
      : stream_type(dtype),
        config_((config.validate(), config)),
        dtype_(dtype),
        embed_(vocabulary, config.encoder_embed_dim, pad, dtype),
        positions_(config.encoder_embed_dim, pad, dtype),
        encoder_(make_stack(false, feed_forward)),
        decoder_(make_stack(true, feed_forward)) {}

  // source i64 [B, Ts] -> [B*Ts, M]; sets ctx.source_layout
  Var encode(const Tensor& source, ForwardContext& ctx) {
    check(!ctx.decode, "encode before ctx.decode is set");
    Scope scope(ctx, "encoder");
    Var x = embed(source, ctx);
    ctx.source_layout = ctx.layout;
    if (const Tensor& padding = ctx.layout.padding; padding.defined()) {
      Tensor keep = Tensor::full({padding.numel()}, 1, dtype_);  // 1 - padding
      axpy(-1, padding.to(dtype_), keep);
      x = scale_rows(x, Var(keep.to(x.data().device())));
    }
    return encoder_.forward(x, {}, ctx);
  }
  // decoder_input i64 [B, Tt] -> logits [B*Tt, V]. With ctx.decode: [rows, 1], the next token of every
  // hypothesis (rows = B * beams); moves ctx.decode on by one position.
  Var decode(const Tensor& decoder_input, const Var& encoder_out, ForwardContext& ctx) {
    check(!ctx.decode || decoder_input.dim(1) == 1, "while generating, decode takes one token");
    Scope scope(ctx, "decoder");
    const Var x = decoder_.forward(embed(decoder_input, ctx), encoder_out, ctx);
    if (ctx.decode) ++ctx.decode->position;
    return embed_.project(x);
  }
  // Between updates; true when the set of parameters changed.
  bool evolve(int64_t update) { return encoder_.evolve(update) | decoder_.evolve(update); }
  void visit(ParamVisitor& v) override {
    v("embed", embed_);
    v("encoder", encoder_);
    v("decoder", decoder_);
  }

  int64_t vocabulary() const { return embed_.weight.var.dim(0); }

  // Of the activations, from the embedding on: BF16 under f32 parameters is mixed precision. Softmax, norms,
  // losses and the router compute in f32 all the same.
  DType stream_type;

 private:
  // drop(sqrt(M) E[ids] + positions); also sets ctx.layout and ctx.token_ids
  Var embed(const Tensor& ids, ForwardContext& ctx) {
    ctx.token_ids = ids.reshape({ids.numel()});
    ctx.layout = layout_of(ids, embed_.pad);
    const double root = std::sqrt(double(config_.encoder_embed_dim));
    const Tensor positions = positions_.forward(ids, ctx.decode ? ctx.decode->position : 0,
                                                embed_.weight.var.data().device());
    const Var x = add(scale(embed_.forward(ctx.token_ids), root), Var(positions));  // [rows, M]
    return drop(cast(x, stream_type), config_.dropout, "dropout", ctx);
  }

  Stack make_stack(bool decoder, const FeedForwardFactory& feed_forward) const {
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

  ModelConfig config_;
  DType dtype_;
  Embedding embed_;
  SinusoidalPositions positions_;
  Stack encoder_, decoder_;
};

}  // namespace switchyard
