// The encoder-decoder transformer of specs/hmoe.md 2.11: one embedding for source, target and output,
// scaled by sqrt(M), plus sinusoidal positions; pre-norm layers; a norm after each stack.
// Which layers have an MoE block instead of the dense FFN is up to the caller's factory.
#pragma once
#include "nn/attention.h"
#include "nn/feed_forward.h"

namespace switchyard {

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
  void validate() const;  // UserError for what cannot be built

  bool normalize_before(bool decoder) const {
    return decoder ? decoder_normalize_before : encoder_normalize_before;
  }
  FeedForwardOptions feed_forward(bool decoder, DType dtype = DType::F32) const {
    return {encoder_embed_dim, decoder ? decoder_ffn_embed_dim : encoder_ffn_embed_dim,
            activation_by_name(activation_fn), activation_dropout, dtype};
  }
};

// Makes the feed-forward sub-block of a layer (from 0): a dense FFN, or an MoE block. Its parameters appear
// directly under the layer's path, so it names itself: "ffn", "ffn_norm", "moe".
using FeedForwardFactory = std::function<std::unique_ptr<SubBlock>(bool decoder, int layer)>;
std::unique_ptr<SubBlock> make_dense_ffn(const ModelConfig& config, bool decoder,
                                         DType dtype = DType::F32);

RowLayout layout_of(const Tensor& ids, int64_t pad);  // ids i64 [B, T]

class Transformer : public Module {
 public:
  Transformer(const ModelConfig& config, int64_t vocabulary, const FeedForwardFactory& feed_forward,
              DType dtype = DType::F32, int64_t pad = 1);

  // source i64 [B, Ts] -> [B*Ts, M]; sets ctx.source_layout
  Var encode(const Tensor& source, ForwardContext& ctx);
  // decoder_input i64 [B, Tt] -> logits [B*Tt, V]. With ctx.decode: [rows, 1], the next token of every
  // hypothesis (rows = B * beams); moves ctx.decode on by one position.
  Var decode(const Tensor& decoder_input, const Var& encoder_out, ForwardContext& ctx);
  // Between updates; true when the set of parameters changed.
  bool evolve(int64_t update) { return encoder_.evolve(update) | decoder_.evolve(update); }
  void visit(ParamVisitor& v) override;

  int64_t vocabulary() const { return embed_.weight.var.dim(0); }

 private:
  Var embed(const Tensor& ids, ForwardContext& ctx);  // also sets ctx.layout and ctx.token_ids
  Stack make_stack(bool decoder, const FeedForwardFactory& feed_forward) const;

  ModelConfig config_;
  DType dtype_;
  Embedding embed_;
  SinusoidalPositions positions_;
  Stack encoder_, decoder_;
};

}  // namespace switchyard
