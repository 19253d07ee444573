// Scaled dot-product attention (Vaswani et al. 2017) over heads laid side by side in the columns:
// y = dropout(softmax(scale q k^T + bias, masked)) v. Only this op knows batch and time.
#include "autograd/ops.h"

namespace switchyard {

Var attention(const Var& q, const Var& k, const Var& v, const Tensor& key_padding, const Var& bias,
              const AttentionSpec& spec, RandomStream r) {
  const int64_t B = spec.batch, Tq = spec.time_q, Tk = spec.time_k, H = spec.heads;
  check(q.dim(0) == B * Tq && k.dim(0) == B * Tk && v.dim(0) == B * Tk && q.dim(1) == k.dim(1) &&
            q.dim(1) % H == 0 && v.dim(1) % H == 0,
        concat("attention: q ", to_string(q.shape()), ", k ", to_string(k.shape()), ", v ",
               to_string(v.shape()), " for batch ", B, ", times ", Tq, " and ", Tk, ", heads ", H));
  const Tensor added = saved_if(bias.defined(), bias);  // [H, Tq, Tk]
  Tensor y = empty_like(q.data(), {B * Tq, v.dim(1)}), probs = empty_like(y, {B, H, Tq, Tk});
  attention_forward(q.data(), k.data(), v.data(), key_padding, added, spec, r, y, probs);
  return make_node("attention", y, {q, k, v, bias},
                   [q = q.data(), k = k.data(), v = v.data(), probs, spec, r, H, Tq, Tk,
                    bias_grad = bias.requires_grad()](const Tensor& dy) -> Grads {
                     Tensor dq = empty_like(q), dk = empty_like(k), dv = empty_like(v), dbias;
                     if (bias_grad) dbias = zeros_like(q, {H, Tq, Tk});
                     attention_backward(q, k, v, probs, spec, r, dy, dq, dk, dv, dbias);
                     return {dq, dk, dv, dbias};
                   });
}

}  // namespace switchyard
