// Random fills and dropout: every element is a function of (stream, element index) alone. Both twins in one
// text: cpu/random.cpp and cuda/random.cu include it inside of their namespaces, which have draw().

namespace {
// f(draw of element i, y[i])
template <class F>
void fill_drawn(const char* kernel, RandomStream r, int64_t first, const Tensor& row_ids, Tensor& y,
                const F& f) {
  with_float(kernel, y.dtype(),
             [&]<class T>(T) { draw(r, uint64_t(first), row_ids, y, f, pointer<T>(y)); });
}
}  // namespace

void random_uniform(RandomStream r, int64_t first_index, double lo, double hi, Tensor& y) {
  fill_drawn("random_uniform", r, first_index, {}, y, draws::Uniform{lo, hi});
}
void random_normal(RandomStream r, int64_t first_index, double stddev, Tensor& y) {
  fill_drawn("random_normal", r, first_index, {}, y, draws::Normal{stddev});
}
void random_gumbel(RandomStream r, const Tensor& row_ids, Tensor& y) {
  fill_drawn("random_gumbel", r, 0, row_ids, y, draws::Gumbel());
}

void dropout(const Tensor& x, const Tensor& row_ids, RandomStream r, double p, Tensor& y) {
  check_numel("dropout", x.numel(), y);
  ELEMENT_DISPATCH(x.dtype(), T,
                   draw(r, 0, row_ids, y, draws::Dropout(p), pointer<T>(x), pointer<T>(y)););
}
