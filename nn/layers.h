// The layers of one op: Linear, LayerNorm, Embedding.
#pragma once
#include <optional>

#include "autograd/ops.h"
#include "nn/module.h"

namespace switchyard {

// y = x W^T + b. Weight and bias start as U(+-1/sqrt(in)) unless told otherwise.
struct Linear : Module {
  Param weight, bias;  // [out, in], [out]
  // bias: no value = none
  Linear(int64_t in, int64_t out, Init weight_init, std::optional<Init> bias_init, DType dtype)
      : weight(make_param({out, in}, weight_init, dtype)) {
    if (bias_init) bias = make_param({out}, *bias_init, dtype);
  }
  Linear(int64_t in, int64_t out, DType dtype)
      : Linear(in, out, fan_in_uniform(in), fan_in_uniform(in), dtype) {}

  Var forward(const Var& x) const {
    return linear(x, weight.var, bias.var);
  }  // [n, in] -> [n, out]
  void visit(ParamVisitor& v) override {
    v("weight", weight);
    if (bias.var.defined()) v("bias", bias);
  }
};

// Ba et al. 2016: y = (x - mean) / sqrt(var + eps) * w + b along the last dimension.
struct LayerNorm : Module {
  Param weight, bias;
  explicit LayerNorm(int64_t width, DType dtype = DType::F32)
      : weight(make_param({width}, {Init::Ones}, dtype)), bias(make_param({width}, {}, dtype)) {}

  Var forward(const Var& x) const { return layer_norm(x, weight.var, bias.var); }
  void visit(ParamVisitor& v) override {
    v("weight", weight);
    v("bias", bias);
  }
};

// Row id of a table [V, d]. The same table is the output projection of a translation model.
// Starts as N(0, 1/d) with the padding row 0; looking up the padding row gives it no gradient.
struct Embedding : Module {
  Param weight;  // [V, d]
  int64_t pad;
  Embedding(int64_t vocabulary, int64_t width, int64_t pad, DType dtype)
      : weight(make_param({vocabulary, width}, {Init::Normal, 1.0 / std::sqrt(double(width)), pad},
                          dtype)),
        pad(pad) {}

  Var forward(const Tensor& ids) const {
    return gather_rows(weight.var, ids, pad);
  }                                                                  // [n] -> [n, d]
  Var project(const Var& x) const { return linear(x, weight.var); }  // [n, d] -> logits [n, V]
  void visit(ParamVisitor& v) override { v("weight", weight); }
};

}  // namespace switchyard
