// Sums along a row, and of blocks of 4,096 elements. Both twins in one text: cpu/reduce.cpp and
// cuda/reduce.cu include it inside of their namespaces, which have block_sums().

void row_dot(const Tensor& a, const Tensor& b, Tensor& y) {
  each_row("row_dot", rows::RowDot(), a, b, one(y));
}

void squared_norm_blocks(const Tensor& x, Tensor& y) {
  check_numel("squared_norm_blocks", rows::sum_blocks(x.numel()), y);
  FLOAT_DISPATCH(x.dtype(), T, block_sums<rows::Square>(x.numel(), x.data<T>(), y.data<double>()););
}

void argmax_rows(const Tensor& x, Tensor& y) {
  check_numel("argmax_rows", rows_of(x), y);
  check(columns_of(x) > 0 || y.numel() == 0, "argmax_rows: rows without elements");
  each_row("argmax_rows", rows::Argmax{y.data<int64_t>()}, x);
}
