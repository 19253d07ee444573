#include "moe/masking.h"

#include "autograd/ops.h"
#include "moe/routing.h"

namespace switchyard::moe {

Var mask_rows(const Var& x, double rate, const std::string& name, const Tensor& id,
              const Tensor& place, ForwardContext& ctx) {
  if (rate == 0) return x;
  if (!ctx.training) return scale(x, 1 - rate);
  const Tensor given = injected(name, DType::F64, ctx);
  const RandomStream stream = ctx.random(name);
  std::vector<double> keep;  // [n]
  for (int64_t i = 0; i < x.dim(0); ++i) {
    const double u = given.defined() ? given.data<double>()[ints(place)[i]]
                                     : unit_float(random_bits(stream, uint64_t(ints(id)[i])));
    keep.push_back(u > rate);
  }
  return scale_rows(x, Var(Tensor::of(keep).to(x.data().dtype())));
}

}  // namespace switchyard::moe
