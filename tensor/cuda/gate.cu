// twins/gate.h on the GPU, a thread for each row.
#include "tensor/gate.h"

#include "tensor/cuda/loops.h"

namespace switchyard::cuda {
namespace {
template <class F>
struct Single {
  F f;
  __device__ void operator()(int64_t i, int64_t) const { f(i); }
};
template <class F>
void each_index(int64_t n, int64_t, const F& f) {
  each_cell(n, 1, Single<F>{f});
}
}  // namespace
#include "tensor/twins/gate.h"
}  // namespace switchyard::cuda
