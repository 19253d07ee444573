// One thread has one Philox block, the draws of four elements.
#include "tensor/cuda/loops.h"
#include "tensor/draws.h"

namespace switchyard::cuda {
namespace {

// Cell (i, b): block b of those that row i needs. A row has c elements, the last one what remains of
// `total`; it starts at element first + i c of the stream or, given ids, at ids[i] c.
template <class F>
struct Draw {
  F f;
  RandomStream r;
  uint64_t first;
  const int64_t* ids;
  int64_t total, c;
  bool packs;

  template <class... P>
  __device__ void operator()(int64_t i, int64_t b, P*... p) const {
    const int64_t row = i * c, end = row + c < total ? row + c : total;
    const uint64_t element = ids ? uint64_t(ids[i] * c) : first + uint64_t(row);
    const int64_t begin = row - int64_t(element & 3) + 4 * b;  // of the four elements
    if (begin >= end) return;
    uint32_t bits[4];
    philox<1>(r, (element >> 2) + uint64_t(b), bits);
    if (packs && begin % 4 == 0 && begin >= row && begin + 4 <= end)
      return with_pack(
          begin / 4, [&](int l, auto&... x) { f(bits[l], x...); }, p...);
    for (int l = 0; l < 4; ++l)
      if (begin + l >= row && begin + l < end)
        ops::on_elements([&](auto&... x) { f(bits[l], x...); }, p[begin + l]...);
  }
};

template <class F, class... P>
void draw(RandomStream r, uint64_t first, const Tensor& row_ids, const Tensor& y, const F& f,
          P*... p) {
  if (row_ids.defined()) check_numel("random draws: row_ids", rows_of(y), row_ids);
  const Tensor ids = on_device(row_ids);
  const int64_t c = ids.defined() ? columns_of(y) : 1024;
  const int64_t before =
      ids.defined() ? (c % 4 ? 3 : 0) : int64_t(first & 3);  // a row, in its block
  const Draw<F> cell{f, r, first, ids.data<int64_t>(), y.numel(), c, (holds_packs(p) && ...)};
  each_cell(ids.defined() ? rows_of(y) : ceil_div(y.numel(), c), ceil_div(before + c, 4), cell,
            p...);
}
}  // namespace

#include "tensor/twins/random.h"

}  // namespace switchyard::cuda
