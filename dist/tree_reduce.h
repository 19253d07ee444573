// The fixed pairwise tree in which values of ranks are combined: sum(0..n) = sum(0..k) + sum(k..n) with k the
// largest power of two below n: ((0+1)+(2+3)) + ((4+5)+6). Each element's bits depend on n alone: not on how
// ranks are spread over processes, on threads, or on where a tensor is cut. Private to dist/.
#pragma once
#include <algorithm>
#include <bit>
#include <memory>

#include "dist/comm.h"
#include "tensor/parallel.h"

namespace switchyard::dist {

inline int tree_split(int n) { return int(std::bit_floor(unsigned(n - 1))); }  // n >= 2

// What is known about the members begin .. end-1, where begin is the index in the vector: a member's own
// values (end = begin + 1), or the result of a whole subtree that another process has combined already.
struct TreeInput {
  int end = 0;
  const std::byte* data = nullptr;
};

// The tree is walked once for each block of elements, so that partial results stay in the cache.
constexpr int64_t kTreeBlock = 2048;  // elements

// The result over the members begin .. end-1 of the n elements from `first` on: an input's own memory, or y.
// y: scratch memory, a block for each level of right branches.
template <class T, class Op>
const T* tree_node(const std::vector<TreeInput>& inputs, int begin, int end, int64_t first,
                   int64_t n, const Op& op, T* y) {
  const TreeInput& in = inputs[begin];
  if (in.end == end) return reinterpret_cast<const T*>(in.data) + first;
  const int middle = begin + tree_split(end - begin);
  const T* a = tree_node(inputs, begin, middle, first, n, op, y);
  const T* b = tree_node(inputs, middle, end, first, n, op, y + kTreeBlock);
  for (int64_t i = 0; i < n; ++i) y[i] = T(op(a[i], b[i]));
  return y;
}

// out[i] = the tree over the members begin .. end-1 of element i; n elements. out may be one of the inputs.
inline void tree_reduce(const std::vector<TreeInput>& inputs, int begin, int end, int64_t n,
                        DType dtype, Reduce op, std::byte* out) {
  with_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    const int levels = std::bit_width(unsigned(end - begin));
    const auto run = [&](const auto& f) {
      parallel_for((n + kTreeBlock - 1) / kTreeBlock, 16, [&](int64_t from, int64_t to) {
        const auto scratch = std::make_unique_for_overwrite<T[]>(levels * kTreeBlock);
        for (int64_t i = from * kTreeBlock; i < std::min(n, to * kTreeBlock); i += kTreeBlock) {
          const int64_t count = std::min(kTreeBlock, n - i);
          const T* result = tree_node(inputs, begin, end, i, count, f, scratch.get());
          std::copy_n(result, count, reinterpret_cast<T*>(out) + i);  // last: out may be an input
        }
      });
    };
    if (op == Reduce::Sum) run([](auto a, auto b) { return a + b; });
    if (op == Reduce::Max) run([](auto a, auto b) { return a < b ? b : a; });
    if (op == Reduce::Min) run([](auto a, auto b) { return b < a ? b : a; });
  });
}

}  // namespace switchyard::dist
