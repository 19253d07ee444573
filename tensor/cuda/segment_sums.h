// Sums over segments of rows, the same on every run and GPU: a segment is cut into pieces of 64 rows. One
// thread adds the rows of a piece in one column, in ascending order; the sums of the pieces are rows again
// and are summed the same way. A segment of up to 64 rows is one chain, as on the CPU.
#pragma once
#include "tensor/cuda/loops.h"

namespace switchyard::cuda {

inline constexpr int64_t kPiece = 64;

// Rows begin(q) .. begin(q+1)-1 belong to q: as listed on the device, or `length` each of n in all.
struct Offsets {
  const int64_t* list;
  int64_t length, n;
  __device__ int64_t begin(int64_t q) const {
    return list ? list[q] : q * length < n ? q * length : n;
  }
};

// Cell (q, j): out(q, j, sum of the terms i of q), where term(i, j, sum) adds to a sum of type V.
template <class V, class Term, class Out>
struct SumRows {
  Offsets rows;
  Term term;
  Out out;
  __device__ void operator()(int64_t q, int64_t j) const {
    V sum = out.start(q, j);
    const int64_t end = rows.begin(q + 1);
#pragma unroll 8
    for (int64_t i = rows.begin(q); i < end; ++i) term(i, j, sum);
    out.finish(q, j, sum);
  }
};

// Term i is row order[i] of x, or row i. P: Pack, or any type that can be added to a sum
template <class P>
struct RowsOf {
  const P* x;
  int64_t c;
  const int64_t* order = nullptr;
  template <class V>
  __device__ void operator()(int64_t i, int64_t j, V& sum) const {
    sum += x[(order ? order[i] : i) * c + j];
  }
};
// y[q] = sum
template <class V>
struct WriteRows {
  V* y;
  int64_t c;
  __device__ V start(int64_t, int64_t) const { return {}; }
  __device__ void finish(int64_t q, int64_t j, const V& sum) const { y[q * c + j] = sum; }
};

// The sums of segments offsets[g] .. offsets[g+1]-1 (on the host); c columns of type V
template <class V, class Term, class Out>
void sum_segments(const std::vector<int64_t>& offsets, int64_t c, const Term& term,
                  const Out& out) {
  const int64_t segments = int64_t(offsets.size()) - 1;
  std::vector<int64_t> pieces = {offsets[0]}, pieces_of = {0};
  int64_t longest = 0;
  for (int64_t g = 0; g < segments; ++g) {
    longest = std::max(longest, offsets[g + 1] - offsets[g]);
    while (pieces.back() < offsets[g + 1])
      pieces.push_back(std::min(pieces.back() + kPiece, offsets[g + 1]));
    pieces_of.push_back(int64_t(pieces.size()) - 1);
  }
  const auto sum = [&](const std::vector<int64_t>& begin, int64_t length, const auto& to) {
    const Tensor list = segments == 1 ? Tensor() : Tensor::of(begin).to(Device::CUDA);
    const SumRows<V, Term, std::decay_t<decltype(to)>> f{
        {list.data<int64_t>(), length, offsets.back()}, term, to};
    each_cell(int64_t(begin.size()) - 1, c, f);
  };
  if (longest <= kPiece) return sum(offsets, offsets.back(), out);
  const Tensor partial =
      Tensor::empty({pieces_of.back() * c * int64_t(sizeof(V))}, DType::U8, Device::CUDA);
  V* const rows = reinterpret_cast<V*>(partial.raw());
  sum(pieces, kPiece, WriteRows<V>{rows, c});
  sum_segments<V>(pieces_of, c, RowsOf<V>{rows, c}, out);
}

}  // namespace switchyard::cuda
