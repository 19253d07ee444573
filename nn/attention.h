// Multi-head attention (Vaswani et al. 2017): softmax(scale q k^T + bias) v for each head, between four
// linear maps. Head width, scale and bias are free (T5: scale 1, shared bias, heads x d_kv unlike d).
// While decoding, keys and values of earlier positions come from ctx.decode, found by the module's path;
// those of the encoder are computed once for each sentence and shared by its hypotheses.
#pragma once
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

class Attention : public Module {
 public:
  explicit Attention(AttentionOptions options);

  // x: rows of ctx.layout; encoder_out: rows of ctx.source_layout. position_bias [H, T, T] or undefined.
  Var forward(const Var& x, const Var& encoder_out, ForwardContext& ctx,
              const Var& position_bias = {}) const;
  void visit(ParamVisitor& v) override;

 private:
  AttentionOptions options_;
  Linear q_, k_, v_, out_;
};

struct KeyValue {
  Tensor k, v;              // [B, T_so_far * H*D]
  bool of_encoder = false;  // one row for each sentence, shared by its hypotheses
};
struct DecodeState {                                // incremental decoding: one token per call
  int64_t position = 0;                             // of the next token
  int64_t beams = 1;                                // hypotheses (stream rows) of each sentence
  std::map<std::string, KeyValue> cache;            // by attention path
  void reorder(const std::vector<int64_t>& index);  // beam search: row i continues old row index[i]
};

}  // namespace switchyard
