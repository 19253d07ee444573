#include "nn/embedding.h"

#include <cmath>

#include "autograd/ops.h"

namespace switchyard {

Embedding::Embedding(int64_t vocabulary, int64_t width, int64_t pad, DType dtype)
    : weight(make_param({vocabulary, width}, Init::normal(1.0 / std::sqrt(double(width)), pad),
                        dtype)),
      pad_(pad) {}

Var Embedding::forward(const Tensor& ids) const { return embedding(weight.var, ids, pad_); }

Var Embedding::project(const Var& x) const { return linear(x, weight.var); }

}  // namespace switchyard
