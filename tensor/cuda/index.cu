// Lookup, gather, scatter and the combination of expert rows. Index -1 stands for "no row". Nothing adds
// from two threads: scatter_add_rows sorts the rows by target on the host, then each target sums its own.
#include "tensor/cuda/segment_sums.h"

namespace switchyard::cuda {
namespace {

struct Gather {
  const int64_t* index;
  int64_t c;
  template <class P>
  __device__ void operator()(int64_t i, int64_t j, const P* x, P* y) const {
    y[i * c + j] = index[i] >= 0 ? x[index[i] * c + j] : P{};
  }
};

// y[target[q]] += sum, a pack of type T
template <class T, class P>
struct AddRows {
  P* y;
  const int64_t* target;
  int64_t c;
  __device__ auto start(int64_t q, int64_t j) const {
    return y[target[q] * c + j].template as<T>();
  }
  template <class V>
  __device__ void finish(int64_t q, int64_t j, const V& sum) const {
    y[target[q] * c + j] = sum.template as<typename P::Element>();
  }
};

struct Combine {
  const int64_t *offsets, *position;
  int64_t c;
  template <class X, int W, class T>
  __device__ void operator()(int64_t s, int64_t j, const Pack<X, W>* rows, const T* weight,
                             Pack<X, W>* y) const {
    Pack<T, W> sum = {};
    for (int64_t i = offsets[s]; i < offsets[s + 1]; ++i) {
      if (position[i] < 0) continue;
      const Pack<T, W> row = rows[position[i] * c + j].template as<T>();
      for (int l = 0; l < W; ++l) sum.at[l] = std::fma(weight[i], row.at[l], sum.at[l]);
    }
    y[s * c + j] = sum.template as<X>();
  }
};

// Cell (s, 0): the rows of token s learn whose they are.
struct FindOwners {
  const int64_t *offsets, *position;
  int64_t *token, *choice;
  template <class T>
  __device__ void operator()(int64_t s, int64_t, T* dweight) const {
    for (int64_t i = offsets[s]; i < offsets[s + 1]; ++i)
      if (position[i] < 0) dweight[i] = 0;
      else token[position[i]] = s, choice[position[i]] = i;
  }
};
struct CombineBackward {
  const int64_t *token, *choice;
  template <class Row, class X, class T>
  __device__ void operator()(const Row& row, int64_t p, int64_t c, const X* x, X* dx, const X* dy,
                             const T* weight, T* dweight) const {
    const int64_t i = choice[p];
    if (i < 0) return row.map(c, dx, [] { return T(0); });
    rows::combine_backward(row, c, weight[i], dy + token[p] * c, x, dx, dweight + i);
  }
};

}  // namespace

void gather_rows(const Tensor& x, const Tensor& index, Tensor& y) {
  const int64_t c = columns_of(y);
  check_numel("gather_rows", rows_of(y), index);
  check_numel("gather_rows", rows_of(x) * c, x);
  check_index("gather_rows", index, rows_of(x));
  const Tensor at = on_device(index);
  ELEMENT_DISPATCH(x.dtype(), T, {
    with_packs(c, {x, y}, [&]<int W>(Width<W>) {
      using P = Pack<T, W>;
      each_cell(rows_of(y), c / W, Gather{at.data<int64_t>(), c / W}, packs<const P>(x),
                packs<P>(y));
    });
  });
}

void scatter_add_rows(const Tensor& x, const Tensor& index, Tensor& y) {
  const Tensor host = index.to(Device::CPU);
  const int64_t n = index.numel(), m = rows_of(y), c = columns_of(y), *at = host.data<int64_t>();
  check_numel("scatter_add_rows", n * c, x);
  check_index("scatter_add_rows", host, m);
  // A counting sort: the rows i of each target, ascending; targets without rows are left out
  std::vector<int64_t> next(m + 1), order, target, offsets = {0};
  for (int64_t i = 0; i < n; ++i)
    if (at[i] >= 0) ++next[at[i] + 1];
  for (int64_t t = 0; t < m; ++t) {
    next[t + 1] += next[t];
    if (next[t + 1] > next[t]) target.push_back(t), offsets.push_back(next[t + 1]);
  }
  order.resize(next[m]);
  for (int64_t i = 0; i < n; ++i)
    if (at[i] >= 0) order[next[at[i]]++] = i;
  const Tensor sorted = Tensor::of(order).to(Device::CUDA),
               to = Tensor::of(target).to(Device::CUDA);
  ELEMENT_DISPATCH(x.dtype(), X, {
    with_packs(c, {x, y}, [&]<int W>(Width<W>) {
      using T = Compute<X>;
      using P = Pack<X, W>;
      sum_segments<Pack<T, W>>(offsets, c / W,
                               RowsOf<P>{packs<const P>(x), c / W, sorted.data<int64_t>()},
                               AddRows<T, P>{packs<P>(y), to.data<int64_t>(), c / W});
    });
  });
}

void combine_forward(const Tensor& rows, const Tensor& offsets, const Tensor& position,
                     const Tensor& weight, Tensor& y) {
  const int64_t n = rows_of(y), c = columns_of(y);
  check_numel("combine", n + 1, offsets);
  check_numel("combine", position.numel(), weight);
  check_numel("combine", rows_of(rows) * c, rows);
  check_index("combine", position, rows_of(rows));
  const Tensor o = on_device(offsets), at = on_device(position);
  ELEMENT_DISPATCH(y.dtype(), T, {
    with_packs(c, {rows, y}, [&]<int W>(Width<W>) {
      using P = Pack<T, W>;
      each_cell(n, c / W, Combine{o.data<int64_t>(), at.data<int64_t>(), c / W},
                packs<const P>(rows), pointer<Compute<T>>(weight), packs<P>(y));
    });
  });
}

// Every row is the choice of at most one token.
void combine_backward(const Tensor& dy, const Tensor& rows, const Tensor& offsets,
                      const Tensor& position, const Tensor& weight, Tensor& drows,
                      Tensor& dweight) {
  const int64_t n = rows_of(rows);
  check_numel("combine", rows_of(dy) + 1, offsets);
  check_numel("combine", position.numel(), weight, dweight);
  check_numel("combine", n * columns_of(dy), rows, drows);
  check_index("combine", position, n);
  const Tensor o = on_device(offsets), at = on_device(position);
  const Tensor token = Tensor::full({n}, -1, DType::I64, Device::CUDA), choice = token.clone();
  const FindOwners owners{o.data<int64_t>(), at.data<int64_t>(), token.data<int64_t>(),
                          choice.data<int64_t>()};
  ELEMENT_DISPATCH(dy.dtype(), T, each_cell(rows_of(dy), 1, owners, dweight.data<Compute<T>>()););
  each_row("combine", CombineBackward{token.data<int64_t>(), choice.data<int64_t>()}, rows, drows,
           any_row(dy), whole(weight), whole(dweight));
}

}  // namespace switchyard::cuda
