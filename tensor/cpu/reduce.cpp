// Sums. Along a row: 16 lanes and a fixed tree (loops.h). Over rows: each column on one thread, rows
// ascending. Over everything: f64 sums of blocks of 4,096 elements, then the blocks in order.
#include <numeric>

#include "tensor/cpu/loops.h"

namespace switchyard::cpu {
namespace {

constexpr int64_t kBlock = 4096;

// sums[b] = sum of f(x[i]) in f64 over block b
template <class F>
void block_sums(const char* kernel, const Tensor& x, double* sums, const F& f) {
  with_pointers(kernel, {x}, [&, n = x.numel()](auto* x) {
    row_loop((n + kBlock - 1) / kBlock, kBlock / 2, [=](int64_t b) {
      sums[b] = row_sum(std::min(kBlock, n - b * kBlock),
                        [=, block = x + b * kBlock](int64_t j) { return f(double(block[j])); });
    });
  });
}

}  // namespace

void row_dot(const Tensor& a, const Tensor& b, Tensor& y) {
  each_row("row_dot", {a, b, one(y)}, [](int64_t, int64_t c, auto* a, auto* b, auto* y) {
    *y = row_sum(c, [=](int64_t j) { return a[j] * b[j]; });
  });
}

void sum_all(const Tensor& x, Tensor& y) {
  std::vector<double> sums((x.numel() + kBlock - 1) / kBlock);
  block_sums("sum_all", x, sums.data(), [](double v) { return v; });
  check_numel("sum_all", 1, y);
  *y.data<double>() = std::accumulate(sums.begin(), sums.end(), 0.0);
}

void squared_norm_blocks(const Tensor& x, Tensor& y) {
  check_numel("squared_norm_blocks", (x.numel() + kBlock - 1) / kBlock, y);
  block_sums("squared_norm_blocks", x, y.data<double>(), [](double v) { return v * v; });
}

void argmax_rows(const Tensor& x, Tensor& y) {
  check_numel("argmax_rows", rows_of(x), y);
  check(columns_of(x) > 0 || y.numel() == 0, "argmax_rows: rows without elements");
  each_row("argmax_rows", {x}, [top = y.data<int64_t>()](int64_t i, int64_t c, auto* x) {
    top[i] = std::max_element(x, x + c) - x;  // the first of equals
  });
}

}  // namespace switchyard::cpu
