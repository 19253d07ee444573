// Sums. Along a row: 16 lanes and a fixed tree (loops.h). Over rows: each column on one thread, rows
// ascending. Over everything: f64 sums of blocks of 4,096 elements, then the blocks in order.
#include <numeric>

#include "tensor/cpu/loops.h"

namespace switchyard::cpu {
namespace {

constexpr int64_t kBlock = 4096;

// sums[b] = sum of f(x[i]) in f64 over block b
template <class T, class F>
void block_sums(const T* x, int64_t n, double* sums, const F& f) {
  parallel_for((n + kBlock - 1) / kBlock, 8, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      const T* block = x + b * kBlock;
      sums[b] = row_sum<double>(std::min(kBlock, n - b * kBlock),
                                [=](int64_t j) { return f(double(block[j])); });
    }
  });
}

}  // namespace

void row_dot(const Tensor& a, const Tensor& b, Tensor& y) {
  const int64_t n = rows_of(a), c = columns_of(a);
  check_numel("row_dot", n * c, b), check_numel("row_dot", n, y);
  FLOAT_DISPATCH(a.dtype(), T, {
    each_row(n, c, [=, pa = a.data<T>(), pb = b.data<T>(), py = y.data<T>()](int64_t i) {
      py[i] = row_sum<T>(c, [=](int64_t j) { return pa[i * c + j] * pb[i * c + j]; });
    });
  });
}

void sum_rows(const Tensor& x, Tensor& y) {
  const int64_t n = rows_of(x), c = columns_of(x);
  check_numel("sum_rows", c, y);
  FLOAT_DISPATCH(x.dtype(), T,
                 { add_rows<T>(x.data<T>(), n, c, y.data<T>(), [](int64_t) { return 0; }); });
}

void sum_all(const Tensor& x, Tensor& y) {
  check_numel("sum_all", 1, y);
  std::vector<double> sums((x.numel() + kBlock - 1) / kBlock);
  FLOAT_DISPATCH(x.dtype(), T,
                 { block_sums(x.data<T>(), x.numel(), sums.data(), [](double v) { return v; }); });
  *y.data<double>() = std::accumulate(sums.begin(), sums.end(), 0.0);
}

void squared_norm_blocks(const Tensor& x, Tensor& y) {
  check_numel("squared_norm_blocks", (x.numel() + kBlock - 1) / kBlock, y);
  FLOAT_DISPATCH(x.dtype(), T, {
    block_sums(x.data<T>(), x.numel(), y.data<double>(), [](double v) { return v * v; });
  });
}

void argmax_rows(const Tensor& x, Tensor& y) {
  const int64_t n = rows_of(x), c = columns_of(x);
  check_numel("argmax_rows", n, y);
  check(c > 0 || n == 0, "argmax_rows: rows without elements");
  FLOAT_DISPATCH(x.dtype(), T, {
    each_row(n, c, [=, px = x.data<T>(), py = y.data<int64_t>()](int64_t i) {
      const T* row = px + i * c;
      py[i] = std::max_element(row, row + c) - row;  // the first of equals
    });
  });
}

}  // namespace switchyard::cpu
