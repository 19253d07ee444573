// Embedding: row id of a table [V, d]. The same table is the output projection of a translation model.
// Starts as N(0, 1/d) with the padding row 0; looking up the padding row gives it no gradient.
#pragma once
#include <cmath>

#include "autograd/ops.h"
#include "nn/module.h"

namespace switchyard {

class Embedding : public Module {
 public:
  Embedding(int64_t vocabulary, int64_t width, int64_t pad, DType dtype)
      : weight(make_param({vocabulary, width}, Init::normal(1.0 / std::sqrt(double(width)), pad),
                          dtype)),
        pad_(pad) {}

  Var forward(const Tensor& ids) const {
    return gather_rows(weight.var, ids, pad_);
  }                                                                  // [n] -> [n, d]
  Var project(const Var& x) const { return linear(x, weight.var); }  // [n, d] -> logits [n, V]
  void visit(ParamVisitor& v) override { v("weight", weight); }

  Param weight;  // [V, d]

 private:
  int64_t pad_;
};

}  // namespace switchyard
