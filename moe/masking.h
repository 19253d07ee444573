// Output masking (EOM, FOM: Elbayad et al. 2022; specs/hmoe.md 2.9): in training a row is kept when its draw
// u > rate, without rescaling; in evaluation every row is multiplied by 1 - rate. Not a dropout.
#pragma once
#include "nn/context.h"

namespace switchyard::moe {

// x [n, M]. Row i draws at element id[i] of the site `name`; a test's own draws are found at place[i].
Var mask_rows(const Var& x, double rate, const std::string& name, const Tensor& id,
              const Tensor& place, ForwardContext& ctx);

}  // namespace switchyard::moe
