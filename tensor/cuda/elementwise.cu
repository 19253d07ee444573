// Elementwise kernels: loops over the functions of elementwise.h and adam.h.
#include "tensor/adam.h"
#include "tensor/cuda/loops.h"

namespace switchyard::cuda {

void fill(double value, Tensor& y) {
  with_type(y.dtype(), [&]<class T>(T) {
    element_loop(y.numel(), ops::Fill<T>{static_cast<T>(value)}, y.data<T>());
  });
}
void convert(const Tensor& x, Tensor& y) {
  check_numel("convert", x.numel(), y);
  with_type(x.dtype(), [&]<class From>(From) {
    with_type(y.dtype(), [&]<class To>(To) {
      const From* from = x.data<From>();
      element_loop(x.numel(), ops::Convert(), from, y.data<To>());
    });
  });
}

void add(const Tensor& a, const Tensor& b, Tensor& y) { each_element("add", ops::Add(), a, b, y); }
void multiply(const Tensor& a, const Tensor& b, Tensor& y) {
  each_element("multiply", ops::Multiply(), a, b, y);
}
void scale(double alpha, const Tensor& x, Tensor& y) {
  each_element("scale", ops::Scale{alpha}, x, y);
}
void axpy(double alpha, const Tensor& x, Tensor& y) {
  each_element("axpy", ops::Axpy{alpha}, x, y);
}
void adam_step(const Tensor& g, const AdamSpec& spec, Tensor& p, Tensor& m, Tensor& v) {
  each_element("adam_step", ops::Adam(spec), g, p, m, v);
}

// The functor gives both kernels: y = f(x), dx = dy * df(x, y).
#define SWITCHYARD_UNARY(name, F)                                                        \
  void name##_forward(const Tensor& x, Tensor& y) {                                      \
    each_element(#name, ops::Forward<F>(), x, y);                                        \
  }                                                                                      \
  void name##_backward(const Tensor& x, const Tensor& y, const Tensor& dy, Tensor& dx) { \
    each_element(#name, ops::Backward<F>(), x, y, dy, dx);                               \
  }
SWITCHYARD_UNARY_OPS(SWITCHYARD_UNARY)

namespace {
struct ScaleRow {
  int64_t c;
  template <class T, int W>
  __device__ void operator()(int64_t i, int64_t j, const Pack<T, W>* x, const T* s,
                             Pack<T, W>* y) const {
    Pack<T, W> own = x[i * c + j];
    for (int l = 0; l < W; ++l) own.at[l] = s[i] * own.at[l];
    y[i * c + j] = own;
  }
};
}  // namespace

void scale_rows(const Tensor& x, const Tensor& s, Tensor& y) {
  const int64_t n = rows_of(x), c = columns_of(x);
  check_numel("scale_rows", n * c, x, y);
  check_numel("scale_rows", n, s);
  FLOAT_DISPATCH(x.dtype(), T, {
    with_packs<T>(c, {x, y}, [&]<class P>(P) {
      each_cell(n, c / P::width, ScaleRow{c / P::width}, packs<const P>(x), s.data<T>(),
                packs<P>(y));
    });
  });
}

}  // namespace switchyard::cuda
