// The smallest layers: Linear, LayerNorm, Embedding, SinusoidalPositions.
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

  // [n, in] -> [n, out]
  Var forward(const Var& x) const { return linear(x, weight.var, bias.var); }
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

  Var forward(const Tensor& ids) const { return gather_rows(weight.var, ids, pad); }  // [n, d]
  Var project(const Var& x) const { return linear(x, weight.var); }  // [n, d] -> logits [n, V]
  void visit(ParamVisitor& v) override { v("weight", weight); }
};

// Sinusoidal positions (Vaswani et al. 2017, in fairseq's form): rate_k = exp(-k ln(10000) / (half - 1)),
// half = d / 2; the first half of a row is sin(pos rate_k), the second cos(pos rate_k).
// pos = pad index + (number of the token among the non-pad tokens of its sentence, from 1); padding rows
// are zero. No parameters and no longest position: the table grows when a longer sentence comes.
class SinusoidalPositions {
 public:
  SinusoidalPositions(int64_t width, int64_t pad, DType dtype = DType::F32)
      : width_(width), pad_(pad), dtype_(dtype) {}

  // ids i64 [B, T], of sentences that already have `earlier` tokens -> [B*T, d] on `device`
  Tensor forward(const Tensor& ids, int64_t earlier = 0, Device device = Device::CPU) {
    std::vector<int64_t> rows = ids.to_vector<int64_t>();
    int64_t last = 0;
    for (size_t i = 0; i < rows.size(); ++i) {
      if (int64_t(i) % ids.dim(1) == 0) last = pad_ + earlier;
      rows[i] = rows[i] == pad_ ? -1 : ++last;  // -1: a zero row
    }
    const int64_t longest = pad_ + earlier + ids.dim(1);
    if (!table_.defined() || longest >= table_.dim(0))
      make_table(std::max<int64_t>(256, 2 * longest));
    table_ = table_.to(device);
    return gathered(table_, Tensor::of(rows));
  }

 private:
  void make_table(int64_t positions) {
    const int64_t half = width_ / 2;
    Tensor table = Tensor::zeros({positions, width_}, DType::F64);  // odd width: a column of zeros
    for (int64_t k = 0; k < half; ++k) {
      const double rate = std::exp(-double(k) * std::log(10000.0) / std::max(half - 1.0, 1.0));
      for (int64_t p = 0; p < positions; ++p) {
        table.data<double>()[p * width_ + k] = std::sin(double(p) * rate);
        table.data<double>()[p * width_ + half + k] = std::cos(double(p) * rate);
      }
    }
    table_ = table.to(dtype_);
  }

  int64_t width_, pad_;
  DType dtype_;
  Tensor table_;  // [positions so far, d]
};

}  // namespace switchyard
