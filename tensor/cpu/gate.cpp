// twins/gate.h on the CPU.
#include "tensor/gate.h"

#include "tensor/cpu/loops.h"

namespace switchyard::cpu {
namespace {
template <class F>
void each_index(int64_t n, int64_t c, const F& f) {
  row_loop(n, c, f);
}
}  // namespace
#include "tensor/twins/gate.h"
}  // namespace switchyard::cpu
