// tree_reduce: walks the tree once for each block of elements, so that partial results stay in the cache.
#include "dist/tree_reduce.h"

#include <algorithm>
#include <memory>

#include "tensor/parallel.h"

namespace switchyard::dist {
namespace {

constexpr int64_t kBlock = 2048;  // elements

// The result over the members begin .. end-1 of the n elements from `first` on: an input's own memory, or y.
// y: scratch memory, a block for each level of right branches.
template <class T, class Op>
const T* node(const std::vector<TreeInput>& inputs, int begin, int end, int64_t first, int64_t n,
              const Op& op, T* y) {
  const TreeInput& in = inputs[begin];
  if (in.end == end) return reinterpret_cast<const T*>(in.data) + first;
  const int middle = begin + tree_split(end - begin);
  const T* a = node(inputs, begin, middle, first, n, op, y);
  const T* b = node(inputs, middle, end, first, n, op, y + kBlock);
  for (int64_t i = 0; i < n; ++i) y[i] = T(op(a[i], b[i]));
  return y;
}

template <class T, class Op>
void reduce(const std::vector<TreeInput>& inputs, int begin, int end, int64_t n, const Op& op,
            T* out) {
  const int levels = std::bit_width(unsigned(end - begin));
  parallel_for((n + kBlock - 1) / kBlock, 16, [&](int64_t from, int64_t to) {
    const auto scratch = std::make_unique_for_overwrite<T[]>(levels * kBlock);
    for (int64_t first = from * kBlock; first < std::min(n, to * kBlock); first += kBlock) {
      const int64_t count = std::min(kBlock, n - first);
      // out is written last: it may be an input
      std::copy_n(node(inputs, begin, end, first, count, op, scratch.get()), count, out + first);
    }
  });
}

}  // namespace

void tree_reduce(const std::vector<TreeInput>& inputs, int begin, int end, int64_t n, DType dtype,
                 Reduce op, std::byte* out) {
  with_type(dtype, [&](auto zero) {
    const auto run = [&](const auto& f) {
      reduce(inputs, begin, end, n, f, reinterpret_cast<decltype(zero)*>(out));
    };
    if (op == Reduce::Sum) run([](auto a, auto b) { return a + b; });
    if (op == Reduce::Max) run([](auto a, auto b) { return a < b ? b : a; });
    if (op == Reduce::Min) run([](auto a, auto b) { return b < a ? b : a; });
  });
}

}  // namespace switchyard::dist
