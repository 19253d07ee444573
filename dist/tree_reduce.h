// The fixed pairwise tree in which values of ranks are combined: sum(0..n) = sum(0..k) + sum(k..n) with k the
// largest power of two below n: ((0+1)+(2+3)) + ((4+5)+6). Each element's bits depend on n alone: not on how
// ranks are spread over processes, on threads, or on where a tensor is cut. Private to dist/.
#pragma once
#include <bit>
#include <vector>

#include "dist/comm.h"

namespace switchyard::dist {

inline int tree_split(int n) { return int(std::bit_floor(unsigned(n - 1))); }  // n >= 2

// What is known about the members begin .. end-1, where begin is the index in the vector: a member's own
// values (end = begin + 1), or the result of a whole subtree that another process has combined already.
struct TreeInput {
  int end = 0;
  const std::byte* data = nullptr;
};

// out[i] = the tree over the members begin .. end-1 of element i; n elements. out may be one of the inputs.
void tree_reduce(const std::vector<TreeInput>& inputs, int begin, int end, int64_t n, DType dtype,
                 Reduce op, std::byte* out);

}  // namespace switchyard::dist
