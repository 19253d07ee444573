// Sums. Along a row: the threads of a warp or block and a fixed tree (loops.h). Over rows: segment_sums.h.
// Over everything: f64 sums of blocks of 4,096 elements, then of the blocks as one row.
#include "tensor/cuda/segment_sums.h"

namespace switchyard::cuda {
namespace {

int64_t blocks_of(const Tensor& x) { return ceil_div(x.numel(), rows::kSumBlock); }

template <class F>
void block_sums(const char* kernel, const Tensor& x, double* sums) {
  with_pointers(kernel, {x}, [&, n = x.numel()]<class T>(T* p) {
    row_loop(blocks_of(x), rows::kSumBlock, n % 4 == 0 && holds_packs(p),
             rows::BlockSum<F>{n, sums}, RowPointers<T, 1>{{p}, {rows::kSumBlock}});
  });
}

}  // namespace

void row_dot(const Tensor& a, const Tensor& b, Tensor& y) {
  each_row("row_dot", {a, b, one(y)}, rows::RowDot());
}

void sum_all(const Tensor& x, Tensor& y) {
  check_numel("sum_all", 1, y);
  const int64_t blocks = blocks_of(x);
  const Tensor sums = Tensor::empty({blocks}, DType::F64, Device::CUDA);
  block_sums<rows::Itself>("sum_all", x, sums.data<double>());
  row_loop(1, blocks, false, rows::BlockSum<rows::Itself>{blocks, y.data<double>()},
           RowPointers<double, 1>{{sums.data<double>()}, {0}});
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

void grouped_sum_rows(const Tensor& x, const Tensor& offsets, Tensor& y) {
  const int64_t c = columns_of(x), groups = offsets.numel() - 1;
  const Tensor host = offsets.to(Device::CPU);
  const int64_t* o = checked_offsets("grouped_sum_rows", host, rows_of(x));
  check_numel("grouped_sum_rows", groups * c, y);
  FLOAT_DISPATCH(x.dtype(), T, {
    with_packs<T>(c, {x, y}, [&]<class P>(P) {
      sum_segments<P>(std::vector<int64_t>(o, o + groups + 1), c / P::width,
                      RowsOf<P>{packs<const P>(x), c / P::width},
                      WriteRows<P>{packs<P>(y), c / P::width});
    });
  });
}

}  // namespace switchyard::cuda
