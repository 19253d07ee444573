// tree_reduce: walks the tree once for each block of elements, so that partial results stay in the cache.
#include "dist/tree_reduce.h"

#include <cstring>

#include "tensor/parallel.h"

namespace switchyard::dist {
namespace {

constexpr int64_t kBlock = 2048;  // elements

template <class T>
T combine(Reduce op, T a, T b) {
  switch (op) {
    case Reduce::Sum:
      return a + b;
    case Reduce::Max:
      return a < b ? b : a;
    case Reduce::Min:
      return b < a ? b : a;
  }
  return a;
}

template <class T, Reduce op>
struct Walk {
  const std::vector<TreeInput>& inputs;
  int64_t first = 0, n = 0;           // the block
  std::vector<std::vector<T>> level;  // partial results; a right branch needs one level more

  // The block's result over begin .. end-1: in an input's own memory, or in level[depth].
  const T* node(int begin, int end, size_t depth) {
    const TreeInput& in = inputs[begin];
    if (in.end == end) return reinterpret_cast<const T*>(in.data) + first;
    while (level.size() <= depth) level.emplace_back(kBlock);
    T* y = level[depth].data();
    combine_halves(begin, end, depth, y);
    return y;
  }
  void combine_halves(int begin, int end, size_t depth, T* y) {
    const int middle = begin + tree_split(end - begin);
    const T* a = node(begin, middle, depth);
    const T* b = node(middle, end, depth + 1);
    for (int64_t i = 0; i < n; ++i) y[i] = combine(op, a[i], b[i]);
  }
};

template <class T, Reduce op>
void reduce(const std::vector<TreeInput>& inputs, int begin, int end, int64_t n, T* out) {
  const int64_t blocks = (n + kBlock - 1) / kBlock;
  parallel_for(blocks, 16, [&](int64_t from, int64_t to) {
    Walk<T, op> walk{inputs, 0, 0, {}};
    walk.level.reserve(32);  // node() keeps pointers into it
    for (int64_t block = from; block < to; ++block) {
      walk.first = block * kBlock;
      walk.n = std::min(kBlock, n - walk.first);
      walk.combine_halves(begin, end, 0,
                          out + walk.first);  // out is written last: it may be an input
    }
  });
}

template <class T>
void reduce(Reduce op, const std::vector<TreeInput>& inputs, int begin, int end, int64_t n,
            T* out) {
  switch (op) {
    case Reduce::Sum:
      return reduce<T, Reduce::Sum>(inputs, begin, end, n, out);
    case Reduce::Max:
      return reduce<T, Reduce::Max>(inputs, begin, end, n, out);
    case Reduce::Min:
      return reduce<T, Reduce::Min>(inputs, begin, end, n, out);
  }
}

}  // namespace

void tree_reduce(const std::vector<TreeInput>& inputs, int begin, int end, int64_t n, DType dtype,
                 Reduce op, std::byte* out) {
  if (inputs[begin].end == end) {
    if (n > 0 && out != inputs[begin].data)
      std::memcpy(out, inputs[begin].data, n * size_of(dtype));
    return;
  }
  switch (dtype) {
    case DType::F32:
      return reduce(op, inputs, begin, end, n, reinterpret_cast<float*>(out));
    case DType::F64:
      return reduce(op, inputs, begin, end, n, reinterpret_cast<double*>(out));
    case DType::I32:
      return reduce(op, inputs, begin, end, n, reinterpret_cast<int32_t*>(out));
    case DType::I64:
      return reduce(op, inputs, begin, end, n, reinterpret_cast<int64_t*>(out));
    default:
      throw Error(concat("cannot reduce tensors of ", name_of(dtype), " over ranks"));
  }
}

}  // namespace switchyard::dist
