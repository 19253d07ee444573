// Embedding: row id of a table [V, d]. The same table is the output projection of a translation model.
// Starts as N(0, 1/d) with the padding row 0; looking up the padding row gives it no gradient.
#pragma once
#include "nn/module.h"

namespace switchyard {

class Embedding : public Module {
 public:
  Embedding(int64_t vocabulary, int64_t width, int64_t pad, DType dtype = DType::F32);

  Var forward(const Tensor& ids) const;  // i64 [n] -> [n, d]
  Var project(const Var& x) const;       // [n, d] -> logits [n, V]
  void visit(ParamVisitor& v) override { v("weight", weight); }

  Param weight;  // [V, d]

 private:
  int64_t pad_;
};

}  // namespace switchyard
