// Elementwise kernels: loops over the functions of elementwise.h, adam.h and rows.h. Both twins in one text:
// cpu/elementwise.cpp and cuda/elementwise.cu include it inside of their namespaces.

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
  check_numel("adam_step", g.numel(), p, m, v);
  FLOAT_DISPATCH(g.dtype(), T,
                 element_loop(g.numel(), ops::Adam(spec), pointer<T>(g), pointer<T>(p),
                              pointer<T>(m), pointer<T>(v)););
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

void scale_rows(const Tensor& x, const Tensor& s, Tensor& y) {
  each_row("scale_rows", rows::ScaleRow(), x, one(s), y);
}
