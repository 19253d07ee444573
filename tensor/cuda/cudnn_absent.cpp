// cudnn_attention.h in a build without cuDNN, and on the emulated GPU
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include "tensor/cuda/cudnn_attention.h"

namespace switchyard::cuda {
namespace {
[[noreturn]] void absent() { throw Error("this binary was built without cuDNN"); }
}  // namespace

bool cudnn_attention_available() { return false; }
bool cudnn_attention_takes(const AttentionSpec&, int64_t, bool, bool) { return false; }
void cudnn_attention_forward(const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                             const AttentionSpec&, Tensor&, Tensor&) {
  absent();
}
void cudnn_attention_backward(const Tensor&, const Tensor&, const Tensor&, const Tensor&,
                              const Tensor&, const Tensor&, const AttentionSpec&, bool,
                              const Tensor&, Tensor&, Tensor&, Tensor&) {
  absent();
}

}  // namespace switchyard::cuda
