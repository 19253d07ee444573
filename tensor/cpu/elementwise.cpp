// Elementwise kernels, type conversion, and the forward and backward loops of all unary functors.
#include "tensor/cpu/loops.h"

namespace switchyard::cpu {
namespace {

template <class F>
void with_type(DType t, const F& f) {
  switch (t) {
    case DType::F32:
      return f(float());
    case DType::F64:
      return f(double());
    case DType::BF16:
      return f(BFloat16());
    case DType::I32:
      return f(int32_t());
    case DType::I64:
      return f(int64_t());
    case DType::U8:
      return f(uint8_t());
  }
}
// bf16 converts through f32
template <class To, class From>
inline To converted(From x) {
  if constexpr (std::is_same_v<To, From>) return x;
  else if constexpr (std::is_same_v<From, BFloat16>) return static_cast<To>(float(x));
  else if constexpr (std::is_same_v<To, BFloat16>) return BFloat16(float(x));
  else return static_cast<To>(x);
}

}  // namespace

void fill(double value, Tensor& y) {
  with_type(y.dtype(), [&](auto type) {
    using T = decltype(type);
    T* p = y.data<T>();
    const T v = converted<T>(value);
    each_element(y.numel(), [=](int64_t i) { p[i] = v; });
  });
}

void convert(const Tensor& x, Tensor& y) {
  check_same(x, y, "convert");
  with_type(x.dtype(), [&](auto from) {
    with_type(y.dtype(), [&](auto to) {
      using From = decltype(from);
      using To = decltype(to);
      const From* px = x.data<From>();
      To* py = y.data<To>();
      each_element(x.numel(), [=](int64_t i) { py[i] = converted<To>(px[i]); });
    });
  });
}

void add(const Tensor& a, const Tensor& b, Tensor& y) {
  check_same(a, b, "add"), check_same(a, y, "add");
  FLOAT_DISPATCH(a.dtype(), T, {
    const T *pa = a.data<T>(), *pb = b.data<T>();
    T* py = y.data<T>();
    each_element(a.numel(), [=](int64_t i) { py[i] = pa[i] + pb[i]; });
  });
}

void multiply(const Tensor& a, const Tensor& b, Tensor& y) {
  check_same(a, b, "multiply"), check_same(a, y, "multiply");
  FLOAT_DISPATCH(a.dtype(), T, {
    const T *pa = a.data<T>(), *pb = b.data<T>();
    T* py = y.data<T>();
    each_element(a.numel(), [=](int64_t i) { py[i] = pa[i] * pb[i]; });
  });
}

void scale(double alpha, const Tensor& x, Tensor& y) {
  check_same(x, y, "scale");
  FLOAT_DISPATCH(x.dtype(), T, {
    const T* px = x.data<T>();
    T* py = y.data<T>();
    const T s = T(alpha);
    each_element(x.numel(), [=](int64_t i) { py[i] = s * px[i]; });
  });
}

void axpy(double alpha, const Tensor& x, Tensor& y) {
  check_same(x, y, "axpy");
  FLOAT_DISPATCH(x.dtype(), T, {
    const T* px = x.data<T>();
    T* py = y.data<T>();
    const T s = T(alpha);
    each_element(x.numel(), [=](int64_t i) { py[i] = std::fma(s, px[i], py[i]); });
  });
}

void add_row(const Tensor& x, const Tensor& row, Tensor& y) {
  const int64_t n = rows_of(x), c = columns_of(x);
  check_numel(row, c, "add_row: row"), check_same(x, y, "add_row");
  FLOAT_DISPATCH(x.dtype(), T, {
    const T *px = x.data<T>(), *pr = row.data<T>();
    T* py = y.data<T>();
    each_row(n, c, [=](int64_t i) {
      vector_loop(0, c, [=](int64_t j) { py[i * c + j] = px[i * c + j] + pr[j]; });
    });
  });
}

void scale_rows(const Tensor& x, const Tensor& s, Tensor& y) {
  const int64_t n = rows_of(x), c = columns_of(x);
  check_numel(s, n, "scale_rows: s"), check_same(x, y, "scale_rows");
  FLOAT_DISPATCH(x.dtype(), T, {
    const T *px = x.data<T>(), *ps = s.data<T>();
    T* py = y.data<T>();
    each_row(n, c, [=](int64_t i) {
      const T factor = ps[i];
      vector_loop(0, c, [=](int64_t j) { py[i * c + j] = factor * px[i * c + j]; });
    });
  });
}

// The functor gives both loops: y = f(x), dx = dy * df(x, y).
#define SWITCHYARD_UNARY(name, F)                                                         \
  void name##_forward(const Tensor& x, Tensor& y) {                                       \
    check_same(x, y, #name);                                                              \
    FLOAT_DISPATCH(x.dtype(), T, {                                                        \
      const T* px = x.data<T>();                                                          \
      T* py = y.data<T>();                                                                \
      each_element(x.numel(), [=](int64_t i) { py[i] = F::f(px[i]); });                   \
    });                                                                                   \
  }                                                                                       \
  void name##_backward(const Tensor& x, const Tensor& y, const Tensor& dy, Tensor& dx) {  \
    check_same(x, y, #name), check_same(x, dy, #name), check_same(x, dx, #name);          \
    FLOAT_DISPATCH(x.dtype(), T, {                                                        \
      const T *px = x.data<T>(), *py = y.data<T>(), *pdy = dy.data<T>();                  \
      T* pdx = dx.data<T>();                                                              \
      each_element(x.numel(), [=](int64_t i) { pdx[i] = pdy[i] * F::df(px[i], py[i]); }); \
    });                                                                                   \
  }
SWITCHYARD_UNARY_FUNCTORS(SWITCHYARD_UNARY)

}  // namespace switchyard::cpu
