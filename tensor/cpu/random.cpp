// twins/random.h on the CPU.
#include "tensor/cpu/loops.h"

namespace switchyard::cpu {
namespace {

// f(draw, p[i]...) for the elements i of y [n, c], with the draws of elements first + i; or, given row_ids
// [n], every row with the draws of row row_ids[i] of the whole.
template <class F, class... P>
void draw(RandomStream r, uint64_t first, const Tensor& row_ids, const Tensor& y, const F& f,
          P*... p) {
  const int64_t n = rows_of(y), c = columns_of(y);
  const auto of_element = drawn(f, p...);
  if (!row_ids.defined())
    return parallel_for(n * c, kGrain, [&](int64_t begin, int64_t end) {
      draw_loop(r, first, begin, end, of_element);
    });
  check_numel("random draws: row_ids", n, row_ids);
  row_loop(n, c, [&, id = row_ids.data<int64_t>()](int64_t i) {
    draw_loop(r, uint64_t((id[i] - i) * c), i * c, (i + 1) * c, of_element);
  });
}

}  // namespace

#include "tensor/twins/random.h"

}  // namespace switchyard::cpu
