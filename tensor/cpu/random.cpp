// Random fills and dropout: every element is a function of (stream, element index) alone.
#include "tensor/cpu/loops.h"

namespace switchyard::cpu {
namespace {

// Inverse of the normal distribution function, u in (0, 1): sqrt(2) erfinv(2u - 1).
// Source: M. Giles, "Approximating the erfinv function" (2010), single precision
inline float normal_quantile(float u) {
  const float x = 2.0f * u - 1.0f;
  const float w = -vmath::log(4.0f * u * (1.0f - u));
  const float near = vmath::polynomial(w - 2.5f, 2.81022636e-08f, 3.43273939e-07f, -3.5233877e-06f,
                                       -4.39150654e-06f, 0.00021858087f, -0.00125372503f,
                                       -0.00417768164f, 0.246640727f, 1.50140941f);
  const float far = vmath::polynomial(std::sqrt(w) - 3.0f, -0.000200214257f, 0.000100950558f,
                                      0.00134934322f, -0.00367342844f, 0.00573950773f,
                                      -0.0076224613f, 0.00943887047f, 1.00167406f, 2.83297682f);
  return 1.41421356f * x * (w < 5.0f ? near : far);
}

// Elements i of y [n, c] with the draws of elements first + i; or, given row_ids [n], every row with the
// draws of row row_ids[i] of the whole.
template <class F>
void draw_rows(RandomStream r, uint64_t first, const Tensor& row_ids, const Tensor& y, const F& f) {
  const int64_t n = rows_of(y), c = columns_of(y);
  if (!row_ids.defined())
    return parallel_for(n * c, kGrain,
                        [&](int64_t begin, int64_t end) { draw_loop(r, first, begin, end, f); });
  check_numel("random draws: row_ids", n, row_ids);
  row_loop(n, c, [&, id = row_ids.data<int64_t>()](int64_t i) {
    draw_loop(r, uint64_t((id[i] - i) * c), i * c, (i + 1) * c, f);
  });
}

// y[i] = value(T(), the draw of element i)
template <class F>
void fill_drawn(const char* kernel, RandomStream r, int64_t first, const Tensor& row_ids, Tensor& y,
                const F& value) {
  with_pointers(kernel, {y}, [&]<class T>(T* p) {
    draw_rows(r, uint64_t(first), row_ids, y,
              [=](int64_t i, uint32_t bits) { p[i] = value(T(), bits); });
  });
}

}  // namespace

void random_uniform(RandomStream r, int64_t first_index, double lo, double hi, Tensor& y) {
  fill_drawn("random_uniform", r, first_index, {}, y, [=]<class T>(T, uint32_t bits) {
    return std::fma(T(hi - lo), T(unit_float(bits)), T(lo));
  });
}
void random_normal(RandomStream r, int64_t first_index, double stddev, Tensor& y) {
  fill_drawn("random_normal", r, first_index, {}, y, [=]<class T>(T, uint32_t bits) {
    return T(stddev) * T(normal_quantile(open_unit_float(bits)));
  });
}
void random_gumbel(RandomStream r, const Tensor& row_ids, Tensor& y) {
  fill_drawn("random_gumbel", r, 0, row_ids, y, []<class T>(T, uint32_t bits) {
    return -vmath::log(-vmath::log(T(open_unit_float(bits))));
  });
}

void dropout(const Tensor& x, const Tensor& row_ids, RandomStream r, double p, Tensor& y) {
  check_numel("dropout", x.numel(), y);
  if (!(p >= 0 && p < 1)) throw Error(concat("dropout: probability ", p, " outside of [0, 1)"));
  with_pointers("dropout", {x, y},
                [&](auto* px, auto* py) { draw_rows(r, 0, row_ids, y, drop(px, py, p)); });
}

}  // namespace switchyard::cpu
