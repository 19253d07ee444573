// Load-balancing loss of GShard and Switch (specs/hmoe.md 2.5):
//   aux = n_e sum_e f_e P_e,  f_e = first choices of e / S,  P_e = (1/S) sum_s p[s, e]
// over the n_e visible experts; the gradient flows through P alone. Counts are this rank's, not reduced.
#pragma once
#include "moe/router.h"

namespace switchyard::moe {

// rows: S. Rows beyond those of `probs` are filler, zero vectors with p = 1 / n_e: they enter P and S.
Var balance_loss(const Routed& routed, int64_t rows);  // [1]

}  // namespace switchyard::moe
