// exp, log, erf against the C library in a wider type; special values; vector = scalar.
#include <gtest/gtest.h>

#include <functional>

#include "tensor/vmath.h"

namespace switchyard {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// |got - wanted| in units of the last place of T near wanted
template <class T>
double ulps(T got, long double wanted) {
  const T near = std::max(std::fabs(T(wanted)), std::numeric_limits<T>::min());
  return double(std::fabs((long double)(got)-wanted) /
                (long double)(std::nextafter(near, T(INFINITY)) - near));
}

template <class T, class F, class G>
double worst(double lo, double hi, F ours, G exact) {
  double most = 0;
  for (int i = 0; i <= 200000; ++i) {
    const T x = T(lo + (hi - lo) * i / 200000);
    most = std::max(most, ulps<T>(ours(x), exact((long double)(x))));
  }
  return most;
}
template <class T>
void expect_accuracy(double limit) {
  const auto exp = [](T x) { return vmath::exp(x); };
  const auto log = [](T x) { return vmath::log(x); };
  const auto erf = [](T x) { return vmath::erf(x); };
  const auto exact_exp = [](long double x) { return expl(x); };
  const auto exact_log = [](long double x) { return logl(x); };
  const auto exact_erf = [](long double x) { return erfl(x); };
  EXPECT_LE((worst<T>(-87, 88.7, exp, exact_exp)), limit);
  EXPECT_LE((worst<T>(-1, 1, exp, exact_exp)), limit);
  EXPECT_LE((worst<T>(1e-6, 3, log, exact_log)), limit);
  EXPECT_LE((worst<T>(0.99, 1.01, log, exact_log)), limit);
  EXPECT_LE((worst<T>(1e-30, 1e30, log, exact_log)), limit);
  EXPECT_LE((worst<T>(-5, 5, erf, exact_erf)), limit);
  EXPECT_LE((worst<T>(-0.01, 0.01, erf, exact_erf)), limit);
}

TEST(Vmath, FloatWithinTwoUlps) { expect_accuracy<float>(2.0); }
TEST(Vmath, DoubleWithinTwoUlps) {
  expect_accuracy<double>(2.0);
  EXPECT_LE((worst<double>(
                -708, 709.7, [](double x) { return vmath::exp(x); },
                [](long double x) { return expl(x); })),
            2.0);
}

template <class T>
void expect_special_values() {
  const T inf = T(INFINITY), nan = T(NAN), tiny = std::numeric_limits<T>::denorm_min();
  EXPECT_EQ(vmath::exp(T(0)), T(1));
  EXPECT_EQ(vmath::exp(-inf), T(0));
  EXPECT_EQ(vmath::exp(inf), inf);
  EXPECT_EQ(vmath::exp(T(1000)), inf);
  EXPECT_EQ(vmath::exp(T(-1000)), T(0));
  EXPECT_EQ(vmath::log(T(1)), T(0));
  EXPECT_EQ(vmath::log(T(0)), -inf);
  EXPECT_EQ(vmath::log(-T(0)), -inf);
  if (sizeof(T) == 4) {
    EXPECT_EQ(vmath::log(tiny), -inf);
  }
  EXPECT_EQ(vmath::log(inf), inf);
  EXPECT_TRUE(std::isnan(vmath::log(T(-1))));
  EXPECT_TRUE(std::isnan(vmath::log(-inf)));
  EXPECT_EQ(vmath::erf(inf), T(1));
  EXPECT_EQ(vmath::erf(-inf), T(-1));
  EXPECT_EQ(vmath::erf(T(1000)), T(1));
  EXPECT_EQ(vmath::erf(T(0)), T(0));
  for (T y : {vmath::exp(nan), vmath::log(nan), vmath::erf(nan)}) EXPECT_TRUE(std::isnan(y));
}
TEST(Vmath, SpecialValues) {
  expect_special_values<float>();
  expect_special_values<double>();
}

// A loop (vectorised) and single calls give the same bits, wherever the loop's tail begins.
TEST(Vmath, VectorsEqualScalars) {
  float x[67], y[67], z[67];
  for (int i = 0; i < 67; ++i) x[i] = -9.0f + 0.27f * float(i);
  x[5] = kInf, x[6] = -kInf, x[7] = 0;
  const auto check_all = [&](auto f) {
    for (int i = 0; i < 67; ++i) y[i] = f(x[i]);
    for (int i = 0; i < 67; ++i) {
      const volatile float one = x[i];
      z[i] = f(one);
    }
    for (int i = 0; i < 67; ++i)
      EXPECT_TRUE(y[i] == z[i] || (std::isnan(y[i]) && std::isnan(z[i]))) << x[i];
  };
  check_all([](float v) { return vmath::exp(v); });
  check_all([](float v) { return vmath::log(v); });
  check_all([](float v) { return vmath::erf(v); });
}

}  // namespace
}  // namespace switchyard
