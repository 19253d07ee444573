// Sums. Along a row: 16 lanes and a fixed tree (loops.h). Over rows: each column on one thread, rows
// ascending. Over everything: f64 sums of blocks of 4,096 elements, then the blocks in order.
#include <numeric>

#include "tensor/cpu/loops.h"

namespace switchyard::cpu {
namespace {

template <class F, class T>
void block_sums(int64_t n, const T* x, double* sums) {
  constexpr int64_t block = rows::kSumBlock;
  row_loop(rows::sum_blocks(n), block / 2, [=](int64_t b) {
    rows::BlockSum<F>{n, sums}(Row(), b, block, x + b * block);
  });
}

}  // namespace

#include "tensor/twins/reduce.h"

void sum_all(const Tensor& x, Tensor& y) {
  check_numel("sum_all", 1, y);
  std::vector<double> sums(rows::sum_blocks(x.numel()));
  ELEMENT_DISPATCH(x.dtype(), T, block_sums<rows::Itself>(x.numel(), x.data<T>(), sums.data()););
  *y.data<double>() = std::accumulate(sums.begin(), sums.end(), 0.0);
}

}  // namespace switchyard::cpu
