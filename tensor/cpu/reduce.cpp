// Sums. Along a row: 16 lanes and a fixed tree (loops.h). Over rows: each column on one thread, rows
// ascending. Over everything: f64 sums of blocks of 4,096 elements, then the blocks in order.
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
  check_same(a, b, "row_dot"), check_numel(y, n, "row_dot: y");
  FLOAT_DISPATCH(a.dtype(), T, {
    const T *pa = a.data<T>(), *pb = b.data<T>();
    T* py = y.data<T>();
    each_row(n, c, [=](int64_t i) {
      const T *ra = pa + i * c, *rb = pb + i * c;
      py[i] = row_sum<T>(c, [=](int64_t j) { return ra[j] * rb[j]; });
    });
  });
}

void sum_rows(const Tensor& x, Tensor& y) {
  const int64_t n = rows_of(x), c = columns_of(x);
  check_numel(y, c, "sum_rows: y");
  FLOAT_DISPATCH(x.dtype(), T, {
    const T* px = x.data<T>();
    T* py = y.data<T>();
    column_ranges(n, c, [&](int64_t begin, int64_t end) {
      for (int64_t i = 0; i < n; ++i)
        vector_loop(begin, end, [=](int64_t j) { py[j] += px[i * c + j]; });
    });
  });
}

void sum_all(const Tensor& x, Tensor& y) {
  check_numel(y, 1, "sum_all: y");
  std::vector<double> sums((x.numel() + kBlock - 1) / kBlock);
  FLOAT_DISPATCH(x.dtype(), T,
                 { block_sums(x.data<T>(), x.numel(), sums.data(), [](double v) { return v; }); });
  double total = 0;
  for (double s : sums) total += s;
  *y.data<double>() = total;
}

void squared_norm_blocks(const Tensor& x, Tensor& y) {
  check_numel(y, (x.numel() + kBlock - 1) / kBlock, "squared_norm_blocks: y");
  FLOAT_DISPATCH(x.dtype(), T, {
    block_sums(x.data<T>(), x.numel(), y.data<double>(), [](double v) { return v * v; });
  });
}

void argmax_rows(const Tensor& x, Tensor& y) {
  const int64_t n = rows_of(x), c = columns_of(x);
  check_numel(y, n, "argmax_rows: y");
  check(c > 0 || n == 0, "argmax_rows: rows without elements");
  FLOAT_DISPATCH(x.dtype(), T, {
    const T* px = x.data<T>();
    int64_t* py = y.data<int64_t>();
    each_row(n, c, [=](int64_t i) {
      const T* row = px + i * c;
      py[i] = std::max_element(row, row + c) - row;  // the first of equals
    });
  });
}

}  // namespace switchyard::cpu
