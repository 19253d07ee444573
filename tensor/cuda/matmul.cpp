// Products of every expert with its own rows, sorted by expert. In bf16 one launch serves all experts
// (grouped_gemm.h), where the widths fit it; else the offsets come to the host, and each group with rows is one
// product of products.h.
#include "tensor/arguments.h"
#include "tensor/cuda/grouped_gemm.h"
#include "tensor/cuda/products.h"

namespace switchyard::cuda {
namespace {

// All dimensions but the last together count rows.
Matrix matrix(const Tensor& x) {
  check(x.device() == Device::CUDA, "matrix product: an argument is not on the GPU");
  return {x.raw(), x.dtype(), rows_of(x), columns_of(x), columns_of(x)};
}

}  // namespace

void grouped_matmul(const Tensor& x, const Tensor& offsets, const Tensor& w, bool transpose_w,
                    const Tensor& bias, Tensor& y) {
  const int64_t groups = offsets.numel() - 1;
  const Tensor weight = checked_weights(x, groups, w, transpose_w, bias, y);
  if (x.dtype() == DType::BF16 && groups > 1 && grouped_widths_fit(columns_of(x), columns_of(y)))
    return grouped_mma(x, offsets, weight, transpose_w, bias, y);
  const Tensor host = offsets.to(Device::CPU);
  const int64_t n = rows_of(x), *o = checked_offsets("grouped_matmul", host, n);
  const int64_t m = columns_of(y);
  std::vector<Product> products;
  for (int64_t g = 0; g < groups; ++g) {
    const Matrix own = matrix(weight.slice(g, g + 1));
    products.push_back({matrix(x.slice(o[g], o[g + 1])), transpose_w ? own.transposed() : own,
                        matrix(y.slice(o[g], o[g + 1])),
                        bias.defined() ? bias.raw() + g * m * size_of(bias.dtype()) : nullptr});
  }
  multiply_all(products);
}

// A group without rows has nothing to sum: its dw is 0.
void grouped_matmul_dw(const Tensor& dy, const Tensor& x, const Tensor& offsets, Tensor& dw) {
  Tensor out = checked_dw(dy, x, offsets.numel() - 1, dw);
  if (x.dtype() == DType::BF16 && offsets.numel() > 2 &&
      grouped_widths_fit(columns_of(x), columns_of(dy)))
    return grouped_mma_dw(dy, x, offsets, out);
  const Tensor host = offsets.to(Device::CPU);
  const int64_t n = rows_of(x), *o = checked_offsets("grouped_matmul_dw", host, n);
  std::vector<Product> products;
  for (int64_t g = 0; g < out.dim(0); ++g)
    products.push_back({matrix(dy.slice(o[g], o[g + 1])).transposed(),
                        matrix(x.slice(o[g], o[g + 1])), matrix(out.slice(g, g + 1))});
  multiply_all(products);
}

}  // namespace switchyard::cuda
