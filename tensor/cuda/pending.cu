// Temporary: kernels that another branch brings.
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include "tensor/kernels.h"

namespace switchyard::cuda {
namespace {
[[noreturn]] void pending() { throw Error("pending"); }
}  // namespace

void grouped_matmul(const Tensor& x, const Tensor& offsets, const Tensor& w, bool transpose_w,
                    const Tensor& bias, Tensor& y) {
  pending();
}
void grouped_matmul_dw(const Tensor& dy, const Tensor& x, const Tensor& offsets, Tensor& dw) {
  pending();
}
void attention_forward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& key_padding,
                       const Tensor& bias, const AttentionSpec& spec, RandomStream r, Tensor& y,
                       Tensor& probs) {
  pending();
}
void attention_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& probs,
                        const AttentionSpec& spec, RandomStream r, const Tensor& dy, Tensor& dq,
                        Tensor& dk, Tensor& dv, Tensor& dbias) {
  pending();
}

}  // namespace switchyard::cuda
