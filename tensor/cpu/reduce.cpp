// Sums. Along a row: 16 lanes and a fixed tree (loops.h). Over rows: each column on one thread, rows
// ascending. Over everything: f64 sums of blocks of 4,096 elements, then the blocks in order.
#include <numeric>

#include "tensor/cpu/loops.h"

namespace switchyard::cpu {
namespace {

int64_t blocks_of(const Tensor& x) { return (x.numel() + rows::kSumBlock - 1) / rows::kSumBlock; }

template <class F>
void block_sums(const char* kernel, const Tensor& x, double* sums) {
  constexpr int64_t block = rows::kSumBlock;
  with_pointers(kernel, {x}, [=, n = x.numel(), blocks = blocks_of(x)](auto* x) {
    row_loop(blocks, block / 2, [=](int64_t b) {
      rows::BlockSum<F>{n, sums}(Row(), b, block, x + b * block);
    });
  });
}

}  // namespace

void row_dot(const Tensor& a, const Tensor& b, Tensor& y) {
  each_row("row_dot", {a, b, one(y)}, rows::RowDot());
}

void sum_all(const Tensor& x, Tensor& y) {
  std::vector<double> sums(blocks_of(x));
  block_sums<rows::Itself>("sum_all", x, sums.data());
  check_numel("sum_all", 1, y);
  *y.data<double>() = std::accumulate(sums.begin(), sums.end(), 0.0);
}

void squared_norm_blocks(const Tensor& x, Tensor& y) {
  check_numel("squared_norm_blocks", blocks_of(x), y);
  block_sums<rows::Square>("squared_norm_blocks", x, y.data<double>());
}

void argmax_rows(const Tensor& x, Tensor& y) {
  check_numel("argmax_rows", rows_of(x), y);
  check(columns_of(x) > 0 || y.numel() == 0, "argmax_rows: rows without elements");
  each_row("argmax_rows", {x}, rows::Argmax{y.data<int64_t>()});
}

}  // namespace switchyard::cpu
