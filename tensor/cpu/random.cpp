// Random fills and dropout: every element is a function of (stream, element index) alone.
#include "tensor/cpu/loops.h"

namespace switchyard::cpu {
namespace {

// Elements i of y [n, c] with the draws of elements first + i; or, given row_ids [n], every row with the
// draws of row row_ids[i] of the whole.
template <class F>
void draw_rows(RandomStream r, uint64_t first, const Tensor& row_ids, const Tensor& y, const F& f) {
  const int64_t n = rows_of(y), c = columns_of(y);
  if (!row_ids.defined())
    return parallel_for(n * c, kGrain,
                        [&](int64_t begin, int64_t end) { draw_loop(r, first, begin, end, f); });
  check_numel("random draws: row_ids", n, row_ids);
  row_loop(n, c, [&, id = row_ids.data<int64_t>()](int64_t i) {
    draw_loop(r, uint64_t((id[i] - i) * c), i * c, (i + 1) * c, f);
  });
}

// f(draw of element i, y[i])
template <class F>
void fill_drawn(const char* kernel, RandomStream r, int64_t first, const Tensor& row_ids, Tensor& y,
                const F& f) {
  with_pointers(kernel, {y},
                [&](auto* p) { draw_rows(r, uint64_t(first), row_ids, y, drawn(f, p)); });
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
  with_pointers("dropout", {x, y},
                [&](auto* px, auto* py) { draw_rows(r, 0, row_ids, y, drop(px, py, p)); });
}

}  // namespace switchyard::cpu
