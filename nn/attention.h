// Multi-head attention (Vaswani et al. 2017): softmax(scale q k^T + bias) v for each head, between four
// linear maps. Head width, scale and bias are free (T5: scale 1, shared bias, heads x d_kv unlike d).
// While decoding, keys and values of earlier positions come from ctx.decode, found by the module's path;
// those of the encoder are computed once for each sentence and shared by its hypotheses.
#pragma once
#include "autograd/ops.h"
#include "nn/context.h"
#include "nn/linear.h"

namespace switchyard {

struct AttentionOptions {
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
  explicit Attention(const AttentionOptions& options);

  // x: rows of ctx.layout. position_bias [H, T, T] or undefined.
  Var self(const Var& x, bool causal, ForwardContext& ctx, const Var& position_bias = {}) const;
  // Queries from x, keys from memory: rows of ctx.source_layout.
  Var cross(const Var& x, const Var& memory, ForwardContext& ctx) const;
  void visit(ParamVisitor& v) override;

 private:
  Var attend(const Var& q, const Var& k, const Var& v, const Tensor& key_padding, const Var& bias,
             AttentionSpec spec, ForwardContext& ctx) const;

  AttentionOptions options_;
  Linear q_, k_, v_, out_;
};

}  // namespace switchyard
