// The catalogue of differentiable ops. Shapes: n rows, c columns; the stream of a transformer is [rows, d].
// Integer tensors (indices, offsets, targets) are plain Tensors without gradient.
#pragma once
#include "autograd/var.h"
#include "tensor/device.h"
#include "tensor/kernels.h"

namespace switchyard {

inline Tensor saved_if(bool wanted, const Var& x) { return wanted ? x.data() : Tensor(); }
inline double value_of(const Tensor& t) {
  return t.to(DType::F64).to_vector<double>()[0];
}  // t [1]
inline Tensor empty_like(const Tensor& t, Shape shape) {  // t's type and device, another shape
  return Tensor::empty(std::move(shape), t.dtype(), t.device());
}
inline Tensor zeros_like(const Tensor& t, Shape shape) {
  return Tensor::zeros(std::move(shape), t.dtype(), t.device());
}
Tensor gathered(const Tensor& x, const Tensor& index);  // rows of x, a zero row for index -1
Tensor repeated(const Tensor& row, int64_t n);          // [c] -> [n, c]

// --- math ---------------------------------------------------------------------------------------------
Var add(const Var& a, const Var& b);  // same shape
Var mul(const Var& a, const Var& b);  // elementwise
Var scale(const Var& x, double alpha);
Var scale_rows(const Var& x, const Var& s);  // s [n]: y[i, j] = s[i] x[i, j]
Var relu(const Var& x);
Var gelu(const Var& x);
Var sigmoid(const Var& x);
Var abs(const Var& x);
Var dropout(const Var& x, double p, RandomStream r, const Tensor& row_ids = {});
Var sum(const Var& x);                           // [1], f64 inside; f32 for bf16
Var mean_rows(const Var& x);                     // [c]: mean over rows
Var dot(const Var& x, const Tensor& constant);   // [1]: sum x * constant (constant has x's numel)
Var cast(const Var& x, DType dtype);             // gradient is cast back
Var concat_rows(const std::vector<Var>& parts);  // along dimension 0

// --- matrix products ---------------------------------------------------------------------------------------
Var linear(const Var& x, const Var& w, const Var& b = {});  // x [n, k], w [m, k], b [m]: x w^T + b
// Rows of group g meet w[g] [m, k] and b[g] [m]; offsets i64 [G+1]
Var grouped_linear(const Var& x, const Tensor& offsets, const Var& w, const Var& b);

// --- norm, softmax, attention ----------------------------------------------------------------------------------
Var layer_norm(const Var& x, const Var& w, const Var& b, double eps = 1e-5);
Var softmax(const Var& x);  // along the last dimension
Var attention(const Var& q, const Var& k, const Var& v, const Tensor& key_padding, const Var& bias,
              const AttentionSpec& spec, RandomStream r);

// --- lookup, gather, scatter -------------------------------------------------------------------------------------
// index i64 [m], -1: a zero row; row no_grad_row of x gets no gradient here
Var gather_rows(const Var& x, const Tensor& index, int64_t no_grad_row = -1);
// y = base with rows index replaced by x: the rows named by index take x's rows (no row named twice)
Var replace_rows(const Var& base, const Tensor& index, const Var& x);
// x [n, c], column i64 [n, k] -> [n k]: x[i, column[i, j]] in the order of (i, j)
Var gather_columns(const Var& x, const Tensor& column);
// x [m]: each divided by max(sum over its token's choices, epsilon); token s has offsets[s] .. offsets[s+1]-1
Var normalize(const Var& x, const Tensor& offsets);
// Per token the weighted sum of its choices' rows (kernels.h: combine_forward)
Var combine_rows(const Var& rows, const Tensor& offsets, const Tensor& position, const Var& weight);

// --- loss ------------------------------------------------------------------------------------------------------------
struct CrossEntropy {
  Var loss;      // [1]: sum over rows of the label-smoothed loss, nats
  Tensor nll;    // f64 [1]: sum of -log q[target], nats
  int64_t rows;  // rows with target != ignore
};
CrossEntropy cross_entropy(const Var& logits, const Tensor& target, int64_t ignore,
                           double smoothing);

}  // namespace switchyard
