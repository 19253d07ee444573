// Grouped products: the rows of x are sorted by expert, and every expert multiplies its own rows.
// All groups go through one parallel region (matmul.h), which matters when experts are small.
#include "tensor/cpu/loops.h"
#include "tensor/cpu/matmul.h"

namespace switchyard::cpu {
namespace {

// offsets [G+1] must rise from 0 to n
const int64_t* checked_offsets(const Tensor& offsets, int64_t groups, int64_t n,
                               const char* kernel) {
  check_numel(kernel, groups + 1, offsets);
  const int64_t* o = offsets.data<int64_t>();
  if (o[0] != 0 || o[groups] != n || !std::is_sorted(o, o + groups + 1))
    throw Error(concat(kernel, ": offsets do not rise from 0 to ", n));
  return o;
}

}  // namespace

void grouped_matmul(const Tensor& x, const Tensor& offsets, const Tensor& w, bool transpose_w,
                    const Tensor& bias, Tensor& y) {
  check(x.rank() == 2 && w.rank() == 3 && y.rank() == 2,
        "grouped_matmul: needs x, y of rank 2, w of 3");
  const int64_t groups = w.dim(0), k = w.dim(transpose_w ? 2 : 1), m = w.dim(transpose_w ? 1 : 2);
  check(x.dim(1) == k && y.dim(1) == m && x.dim(0) == y.dim(0),
        concat("grouped_matmul: x ", to_string(x.shape()), ", w ", to_string(w.shape()), ", y ",
               to_string(y.shape())));
  if (bias.defined()) check_numel("grouped_matmul: bias", groups * m, bias);
  const int64_t* o = checked_offsets(offsets, groups, x.dim(0), "grouped_matmul");
  FLOAT_DISPATCH(x.dtype(), T, {
    std::vector<Product<T>> products;
    for (int64_t g = 0; g < groups; ++g)
      products.push_back({o[g + 1] - o[g], m, k, x.data<T>() + o[g] * k, k, false,
                          w.data<T>() + g * k * m, w.dim(2), transpose_w, y.data<T>() + o[g] * m, m,
                          bias.defined() ? bias.data<T>() + g * m : nullptr, false});
    multiply_all(products);
  });
}

void grouped_matmul_dw(const Tensor& dy, const Tensor& x, const Tensor& offsets, Tensor& dw) {
  check(dy.rank() == 2 && x.rank() == 2 && dw.rank() == 3 && dy.dim(0) == x.dim(0) &&
            dw.dim(1) == dy.dim(1) && dw.dim(2) == x.dim(1),
        concat("grouped_matmul_dw: dy ", to_string(dy.shape()), ", x ", to_string(x.shape()),
               ", dw ", to_string(dw.shape())));
  const int64_t groups = dw.dim(0), m = dy.dim(1), k = x.dim(1);
  const int64_t* o = checked_offsets(offsets, groups, x.dim(0), "grouped_matmul_dw");
  FLOAT_DISPATCH(x.dtype(), T, {
    std::vector<Product<T>> products;
    for (int64_t g = 0; g < groups; ++g)
      products.push_back({m, k, o[g + 1] - o[g], dy.data<T>() + o[g] * m, m, true,
                          x.data<T>() + o[g] * k, k, false, dw.data<T>() + g * m * k, k, nullptr,
                          false});
    multiply_all(products);
  });
}

void grouped_sum_rows(const Tensor& x, const Tensor& offsets, Tensor& y) {
  const int64_t groups = rows_of(y), n = rows_of(x), c = columns_of(y);
  const int64_t* o = checked_offsets(offsets, groups, n, "grouped_sum_rows");
  check_numel("grouped_sum_rows", n * c, x);
  std::vector<int64_t> group(n);
  for (int64_t g = 0; g < groups; ++g) std::fill(group.begin() + o[g], group.begin() + o[g + 1], g);
  fill(0.0, y);
  FLOAT_DISPATCH(x.dtype(), T, {
    add_rows<T>(x.data<T>(), n, c, y.data<T>(), [at = group.data()](int64_t i) { return at[i]; });
  });
}

}  // namespace switchyard::cpu
