// Sums. Along a row: the threads of a warp or block and a fixed tree (loops.h). Over rows: segment_sums.h.
// Over everything: f64 sums of blocks of 4,096 elements, then of the blocks as one row.
#include "tensor/cuda/segment_sums.h"

namespace switchyard::cuda {
namespace {

template <class F, class T>
void block_sums(int64_t n, const T* x, double* sums) {
  row_loop(rows::sum_blocks(n), rows::kSumBlock, n % 4 == 0 && holds_packs(x),
           rows::BlockSum<F>{n, sums}, RowPointer<const T>{x, rows::kSumBlock});
}

}  // namespace

#include "tensor/twins/reduce.h"

void sum_all(const Tensor& x, Tensor& y) {
  check_numel("sum_all", 1, y);
  const int64_t blocks = rows::sum_blocks(x.numel());
  const Tensor sums = Tensor::empty({blocks}, DType::F64, Device::CUDA);
  ELEMENT_DISPATCH(x.dtype(), T,
                   block_sums<rows::Itself>(x.numel(), x.data<T>(), sums.data<double>()););
  row_loop(1, blocks, false, rows::BlockSum<rows::Itself>{blocks, y.data<double>()},
           RowPointer<const double>{sums.data<double>(), 0});
}

void grouped_sum_rows(const Tensor& x, const Tensor& offsets, Tensor& y) {
  const int64_t c = columns_of(x), groups = offsets.numel() - 1;
  const Tensor host = offsets.to(Device::CPU);
  const int64_t* o = checked_offsets("grouped_sum_rows", host, rows_of(x));
  check_numel("grouped_sum_rows", groups * c, y);
  ELEMENT_DISPATCH(x.dtype(), T, {
    with_packs(c, {x, y}, [&]<int W>(Width<W>) {
      using P = Pack<T, W>;
      using V = Pack<Compute<T>, W>;
      sum_segments<V>(std::vector<int64_t>(o, o + groups + 1), c / W,
                      RowsOf<P>{packs<const P>(x), c / W}, WriteRows<V>{packs<V>(y), c / W});
    });
  });
}

}  // namespace switchyard::cuda
