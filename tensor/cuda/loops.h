// What the CUDA kernels share: loops over elements, cells and rows with the functions of the CPU twins.
// Memory moves in packs of four elements where sizes and addresses allow. No order of arithmetic depends
// on the grid, so that results are the same on every GPU. Read before: arguments.h, rows.h, context.h.
#pragma once
#include "tensor/arguments.h"
#include "tensor/cuda/context.h"
#include "tensor/rows.h"

namespace switchyard::cuda {

// --- packs ------------------------------------------------------------------------------------------------
template <class T, int W = 4>
struct alignas(W * sizeof(T) < 16 ? W * sizeof(T) : 16) Pack {
  using Element = T;
  T at[W];
  template <class X>
  __device__ void operator+=(const Pack<X, W>& x) {
    for (int l = 0; l < W; ++l) at[l] += static_cast<T>(x.at[l]);
  }
  template <class Y>
  __device__ Pack<Y, W> as() const {
    Pack<Y, W> y;
    for (int l = 0; l < W; ++l) y.at[l] = static_cast<Y>(at[l]);
    return y;
  }
};
template <class T>
bool holds_packs(const T* p) {
  return reinterpret_cast<uintptr_t>(p) % alignof(Pack<T>) == 0;
}

// Elements 4k .. 4k+3 of p; an argument of type const T* is never stored.
template <class T>
__device__ Pack<std::remove_const_t<T>> load(T* p, int64_t k) {
  return reinterpret_cast<const Pack<std::remove_const_t<T>>*>(p)[k];
}
template <class T, class P>
__device__ void store(T* p, int64_t k, const P& x) {
  if constexpr (!std::is_const_v<T>) reinterpret_cast<P*>(p)[k] = x;
}
// f(l, elements 4k + l of all arguments...), as on_elements calls it. The compiler drops the loads of what f
// only writes.
template <class F, class... P>
__device__ void with_pack(int64_t k, const F& f, P*... p) {
  [&](auto... x) {
    for (int l = 0; l < 4; ++l)
      ops::on_elements([&](auto&... element) { f(l, element...); }, x.at[l]...);
    (store(p, k, x), ...);
  }(load(p, k)...);
}

// --- elements ---------------------------------------------------------------------------------------------
template <class F, class... P>
__global__ void __launch_bounds__(256, 2) element_kernel(int64_t n, int64_t packs, F f, P*... p) {
  const int64_t first = blockIdx.x * int64_t(blockDim.x) + threadIdx.x;
  const int64_t step = gridDim.x * int64_t(blockDim.x);
  for (int64_t k = first; k < packs; k += step)
    with_pack(
        k, [&](int, auto&... x) { f(x...); }, p...);
  for (int64_t i = 4 * packs + first; i < n; i += step) ops::on_elements(f, p[i]...);
}

// f(elements...) for n elements; P is const for inputs
template <class F, class... P>
void element_loop(int64_t n, const F& f, P*... p) {
  void (*const kernel)(int64_t, int64_t, F, P * ...) = element_kernel;
  const int64_t packs = (holds_packs(p) && ...) ? n / 4 : 0;
  const int64_t blocks = ceil_div(std::max(packs, n - 4 * packs), 256);
  launch(kernel, unsigned(std::min<int64_t>(blocks, 8 * multiprocessors())), 256, 0, n, packs, f,
         p...);
}

// f(elements...), by reference, of tensors of one size
template <class F, class X, class... Y>
void each_element(const char* kernel, const F& f, X& x, Y&... y) {
  check_numel(kernel, x.numel(), y...);
  with_element(kernel, x.dtype(),
               [&]<class T>(T) { element_loop(x.numel(), f, pointer<T>(x), pointer<T>(y)...); });
}

// --- cells: f(i, j, pointers...) for i < n, j < c, on one thread each; neighbours differ in j -----------------
template <class F, class... P>
__global__ void cell_kernel(int64_t n, int64_t c, F f, P*... p) {
  for (int64_t i = blockIdx.x * int64_t(blockDim.y) + threadIdx.y; i < n;
       i += gridDim.x * int64_t(blockDim.y))
    for (int64_t j = blockIdx.y * int64_t(blockDim.x) + threadIdx.x; j < c;
         j += gridDim.y * int64_t(blockDim.x))
      f(i, j, p...);
}
template <class F, class... P>
void each_cell(int64_t n, int64_t c, const F& f, P*... p) {
  unsigned width = 1;
  while (width < 256 && width < c) width *= 2;
  const dim3 block(width, 256 / width);
  const dim3 grid(unsigned(std::min<int64_t>(ceil_div(n, block.y), 1 << 30)),
                  unsigned(std::min<int64_t>(ceil_div(c, width), 65535)));
  void (*const kernel)(int64_t, int64_t, F, P * ...) = cell_kernel;
  launch(kernel, grid, block, 0, n, c, f, p...);
}
template <int W>
using Width = std::integral_constant<int, W>;
// f(Width<4>()) if the rows of c columns of all tensors consist of packs, else f(Width<1>())
template <class F>
void with_packs(int64_t c, std::initializer_list<Tensor> x, const F& f) {
  bool whole = c % 4 == 0;
  for (const Tensor& t : x)
    whole &=
        reinterpret_cast<uintptr_t>(t.raw()) % std::min<int64_t>(4 * size_of(t.dtype()), 16) == 0;
  if (whole) f(Width<4>());
  else f(Width<1>());
}
template <class P>
P* packs(const Tensor& x) {
  return reinterpret_cast<P*>(x.data<typename P::Element>());
}

// --- rows -------------------------------------------------------------------------------------------------
// A team of threads has a row. reduce: f over the values of its threads, in a fixed tree, to all of them.
struct Warp {
  static constexpr int max_threads = 256;  // of a block
  static __device__ int64_t index() {
    return (blockIdx.x * int64_t(blockDim.x) + threadIdx.x) / 32;
  }
  static __device__ int64_t count() { return gridDim.x * int64_t(blockDim.x) / 32; }
  static __device__ int rank() { return threadIdx.x % 32; }
  static __device__ int size() { return 32; }
  template <class T, class F>
  static __device__ T reduce(T x, const F& f) {
    for (int d = 16; d > 0; d /= 2) x = f(x, __shfl_xor_sync(~0u, x, d));
    return x;
  }
};
struct Block {
  static constexpr int max_threads = 512;
  static __device__ int64_t index() { return blockIdx.x; }
  static __device__ int64_t count() { return gridDim.x; }
  static __device__ int rank() { return threadIdx.x; }
  static __device__ int size() { return blockDim.x; }
  template <class T, class F>
  static __device__ T reduce(T x, const F& f) {
    __shared__ T of_warp[32];
    x = Warp::reduce(x, f);
    __syncthreads();  // the reduction before this one has been read
    if (rank() % 32 == 0) of_warp[rank() / 32] = x;
    __syncthreads();
    x = of_warp[0];
    for (int w = 1; w < size() / 32; ++w) x = f(x, of_warp[w]);
    return x;
  }
};

// The Row of rows.h. Elements v k .. v k + v-1 belong to thread k % size, where v is 4 if it divides n,
// else 1: sums do not depend on addresses. Packs: v is 4 and all addresses hold packs.
template <class Team, bool Packs>
struct Row {
  static __device__ int64_t width(int64_t n) { return Packs || n % 4 == 0 ? 4 : 1; }

  template <class Y, class F, class... X>
  __device__ void map(int64_t n, Y* y, const F& f, const X*... x) const {
    const int64_t v = width(n);
    for (int64_t k = Team::rank(); k < n / v; k += Team::size())
      if constexpr (Packs)
        with_pack(
            k, [&](int, auto& y, auto... x) { y = f(x...); }, y, x...);
      else
        for (int64_t j = k * v; j < k * v + v; ++j)
          y[j] = static_cast<Y>(f(static_cast<Compute<X>>(x[j])...));
  }
  // f over the elements of this thread, in order, then over the threads
  template <class T, class G, class F, class... X>
  __device__ T fold(int64_t n, T total, const G& g, const F& f, const X*... x) const {
    const int64_t v = width(n);
#pragma unroll(Packs ? 4 : 2)
    for (int64_t k = Team::rank(); k < n / v; k += Team::size())
      if constexpr (Packs)
        with_pack(
            k, [&](int, auto... x) { total = g(total, f(x...)); }, x...);
      else
        for (int64_t j = k * v; j < k * v + v; ++j)
          total = g(total, f(static_cast<Compute<X>>(x[j])...));
    return Team::reduce(total, g);
  }
  template <class F, class... X>
  __device__ auto sum(int64_t n, const F& f, const X*... x) const {
    using T = decltype(f(static_cast<Compute<X>>(*x)...));
    return fold(
        n, T(0), [](T a, T b) { return a + b; }, f, x...);
  }
  template <class X>
  __device__ Compute<X> max(int64_t n, const X* x) const {
    using T = Compute<X>;
    return fold(
        n, -std::numeric_limits<T>::infinity(), [](T a, T b) { return b > a ? b : a; },
        [](T x) { return x; }, x);
  }
  template <class X>
  __device__ int64_t find(int64_t n, const X* x, Compute<X> value) const {
    int64_t least = n;
    for (int64_t j = Team::rank(); j < least; j += Team::size())
      if (x[j] == value) least = j;
    return Team::reduce(least, [](int64_t a, int64_t b) { return b < a ? b : a; });
  }
  static __device__ bool owns(int64_t n, int64_t j) {
    return j / width(n) % Team::size() == Team::rank();
  }
  static __device__ bool first() { return Team::rank() == 0; }
};

// Threads of a multiprocessor that the registers shall do for
template <class... T>
inline constexpr int kResidentThreads = ((sizeof(T) <= 4) && ...) ? 1024 : 512;
template <class Team, bool Packs, class F, class... T>
__global__ void __launch_bounds__(Team::max_threads, kResidentThreads<T...> / Team::max_threads)
    row_kernel(int64_t n, int64_t c, F f, RowPointer<T>... x) {
  for (int64_t i = Team::index(); i < n; i += Team::count())
    f(Row<Team, Packs>(), i, c, (x.start + i * x.step)...);
}

// f(row, i, c, pointers...) for n rows: short ones have a warp each, long ones a block. The grid is small
// enough for a multiprocessor's rows to stay in its L1 cache, as most formulas read them more than once.
template <class F, class... T>
void row_loop(int64_t n, int64_t c, bool packs, const F& f, const RowPointer<T>&... x) {
  const bool short_rows = c <= 1024;
  unsigned threads = short_rows ? Warp::max_threads : 128;
  while (!short_rows && threads < Block::max_threads && threads * 8 < c) threads *= 2;
  void (*const kernels[2][2])(int64_t, int64_t, F, RowPointer<T>...) = {
      {row_kernel<Block, false>, row_kernel<Block, true>},
      {row_kernel<Warp, false>, row_kernel<Warp, true>}};
  const int64_t blocks = short_rows ? ceil_div(n, threads / 32) : n;
  const int64_t resident = multiprocessors() * (1024 / threads);
  launch(kernels[short_rows][packs], unsigned(std::min(blocks, resident)), threads, 0, n, c, f,
         x...);
}
// f(row, i, columns, pointers...) for the rows i of the first tensor
template <class F, class X, class... Y>
void each_row(const char* kernel, const F& f, X&& x, Y&&... y) {
  const Tensor& first = argument(x).tensor;
  const int64_t n = rows_of(first), c = columns_of(first);
  with_element(kernel, first.dtype(), [&]<class T>(T) {
    [&](auto... p) {
      const bool packs = c % 4 == 0 && ((p.step == 1 || holds_packs(p.start)) && ...);
      row_loop(n, c, packs, f, p...);
    }(row_pointer<T>(kernel, argument(x), n, c), row_pointer<T>(kernel, argument(y), n, c)...);
  });
}

}  // namespace switchyard::cuda
