// twins/softmax.h on the GPU, and the sums over rows of layer norm.
#include "tensor/cuda/segment_sums.h"

namespace switchyard::cuda {
namespace {

// Row i adds to dw = sum of dy * (x - mean) * rstd and to db = sum of dy.
template <class X, class T = Compute<X>>
struct NormGradient {
  const X *x, *dy;
  const T *mean, *rstd;
  int64_t c;
  __device__ void operator()(int64_t i, int64_t j, Pack<T, 2>& sum) const {
    const T g = dy[i * c + j];
    sum.at[0] = std::fma(g, (x[i * c + j] - mean[i]) * rstd[i], sum.at[0]);
    sum.at[1] += g;
  }
};
template <class T>
struct WriteNormGradient {
  T *dw, *db;
  __device__ Pack<T, 2> start(int64_t, int64_t) const { return {}; }
  __device__ void finish(int64_t, int64_t j, const Pack<T, 2>& sum) const {
    dw[j] = sum.at[0], db[j] = sum.at[1];
  }
};

void norm_weight_gradients(const Tensor& x, const Tensor& mean, const Tensor& rstd,
                           const Tensor& dy, Tensor& dw, Tensor& db) {
  const int64_t n = rows_of(x), c = columns_of(x);
  ELEMENT_DISPATCH(x.dtype(), X, {
    using T = Compute<X>;
    const NormGradient<X> term{x.data<X>(), dy.data<X>(), mean.data<T>(), rstd.data<T>(), c};
    sum_segments<Pack<T, 2>>({0, n}, c, term, WriteNormGradient<T>{dw.data<T>(), db.data<T>()});
  });
}

}  // namespace

#include "tensor/twins/softmax.h"

}  // namespace switchyard::cuda
