// Every kernel on the GPU against its CPU twin, on fresh random inputs: --gtest_random_seed repeats a run.
// Each runs twice there and has to give the same bits; integer arguments are once on the host, once on the
// GPU. The tests know nothing of the GPU: on a machine with a real one they are the check of its kernels.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <random>

#include "tensor/device.h"
#include "tests/cuda/compare.h"

namespace switchyard {
namespace {

using Tensors = std::vector<Tensor>;

class Parity : public testing::Test {
 protected:
  void SetUp() override {
    if (cuda::device_count() == 0) GTEST_SKIP() << "no GPU";
    numbers_.seed(test_seed());
  }
  int64_t below(int64_t n) { return int64_t(numbers_() % uint64_t(n)); }
  // Normal numbers, which fill the shape or a tensor at an odd address
  Tensor normal(Shape shape, DType type, bool odd_address = false) {
    const int64_t n = numel_of(shape), skip = odd_address ? 1 : 0;
    Tensor t = Tensor::empty({n + skip}, compute_type(type));
    random_normal(RandomStream{numbers_(), 0}, 0, 1.0, t);
    return t.to(type).slice(skip, n + skip).reshape(shape);
  }
  // n indices below m, one in eight of them -1
  Tensor indices(int64_t n, int64_t m) {
    Tensor t = Tensor::empty({n}, DType::I64);
    for (int64_t i = 0; i < n; ++i) t.data<int64_t>()[i] = m == 0 || below(8) == 0 ? -1 : below(m);
    return t;
  }

  // call(float tensors, integers) on both devices; all tensors, outputs or not, have to end up the same:
  // to the bit, or within tolerance of the largest element; bf16 then within one unit of its last place.
  using Call = std::function<void(Tensors&, const Tensors&)>;
  void compare(const std::string& what, double tolerance, const Tensors& floats,
               const Tensors& integers, const Call& call) {
    SCOPED_TRACE(what);
    Tensors host;
    for (const Tensor& t : floats) host.push_back(copy_of(t, Device::CPU));
    call(host, integers);
    Tensors first;
    for (Device place : {Device::CPU, Device::CUDA}) {
      Tensors there, whole;
      for (const Tensor& t : floats) there.push_back(copy_of(t, Device::CUDA));
      for (const Tensor& t : integers) whole.push_back(t.to(place));
      call(there, whole);
      for (Tensor& t : there) t = t.to(Device::CPU);
      if (first.empty()) first = there;
      for (size_t k = 0; k < there.size(); ++k) {
        expect_close(there[k], host[k], tolerance, k);
        EXPECT_EQ(0, std::memcmp(there[k].raw(), first[k].raw(), size_t(first[k].bytes())))
            << "tensor " << k << " differs from run to run";
      }
    }
  }
  // The same address modulo 16 as t's
  static Tensor copy_of(const Tensor& t, Device device) {
    const int64_t skip = reinterpret_cast<uintptr_t>(t.raw()) % 16 / size_of(t.dtype());
    const Tensor flat = Tensor::zeros({t.numel() + skip}, t.dtype());
    std::memcpy(flat.slice(skip, skip + t.numel()).raw(), t.raw(), size_t(t.bytes()));
    return flat.to(device).clone().slice(skip, skip + t.numel()).reshape(t.shape());
  }
  static void expect_close(const Tensor& got, const Tensor& wanted, double tolerance, size_t k) {
    if (tolerance == 0 || got.dtype() == DType::I64) {
      EXPECT_EQ(0, std::memcmp(got.raw(), wanted.raw(), size_t(got.bytes()))) << "tensor " << k;
      return;
    }
    const auto g = got.to(DType::F64).to_vector<double>(),
               w = wanted.to(DType::F64).to_vector<double>();
    if (got.dtype() == DType::BF16) tolerance = 0x1p-7;
    double size = 1e-3;
    for (double x : w) size = std::max(size, std::fabs(x));
    for (size_t i = 0; i < g.size(); ++i)
      ASSERT_NEAR(g[i], w[i], tolerance * size) << "tensor " << k << ", element " << i;
  }

  std::mt19937_64 numbers_;
};

// Sums along a row or over rows: other orders than on the CPU
double of_sums(DType type) { return type == DType::F64 ? 1e-13 : 2e-5; }
// exp, log and erf in f64 are those of the C library and of CUDA
double of_functions(DType type) { return type == DType::F64 ? 1e-14 : 0; }

constexpr DType kFloats[] = {DType::F32, DType::F64, DType::BF16};
// Rows and columns; above 1024 columns a row has a block of the GPU
const std::vector<Shape> kShapes = {{0, 8},   {1, 1},   {1, 7},    {3, 64},
                                    {70, 37}, {9, 132}, {2, 1030}, {2, 8200}};

TEST_F(Parity, Elementwise) {
  for (DType type : kFloats)
    for (int64_t n : {0, 1, 3, 8, 1001, 40000})
      for (bool odd : {false, true}) {
        const Tensor a = normal({n}, type), b = normal({n}, type, odd), c = normal({n}, type),
                     y = normal({n}, type);
        const std::string name = concat(name_of(type), " ", n, odd ? " odd" : "");
        const double exact = 0;
        compare("add " + name, exact, {a, b, y}, {}, [](auto& t, auto&) { add(t[0], t[1], t[2]); });
        compare("add in place " + name, exact, {a, b}, {},
                [](auto& t, auto&) { add(t[0], t[1], t[1]); });
        compare("multiply " + name, exact, {a, b, y}, {},
                [](auto& t, auto&) { multiply(t[0], t[1], t[2]); });
        compare("scale " + name, exact, {b, y}, {}, [](auto& t, auto&) { scale(0.3, t[0], t[1]); });
        compare("axpy " + name, exact, {b, y}, {}, [](auto& t, auto&) { axpy(-1.7, t[0], t[1]); });
#define SWITCHYARD_COMPARE(op, F)                                        \
  compare(#op " " + name, of_functions(type), {b, y}, {},                \
          [](auto& t, auto&) { op##_forward(t[0], t[1]); });             \
  compare(#op " backward " + name, of_functions(type), {b, y, a, c}, {}, \
          [](auto& t, auto&) { op##_backward(t[0], t[1], t[2], t[3]); });
        SWITCHYARD_UNARY_OPS(SWITCHYARD_COMPARE)
        if (type == DType::BF16) continue;
        Tensor v = b.clone();
        multiply(b, b, v);
        for (bool decoupled : {false, true})
          compare("adam " + name, exact, {a, y, c, v}, {}, [&](auto& t, auto&) {
            adam_step(t[0], AdamSpec{1e-2, 0.9, 0.98, 1e-8, 0.1, decoupled, 3, 0.5}, t[1], t[2],
                      t[3]);
          });
      }
}

TEST_F(Parity, FillAndConvert) {
  constexpr DType types[] = {DType::F32, DType::F64, DType::BF16,
                             DType::I32, DType::I64, DType::U8};
  for (int64_t n : {0, 5, 1000}) {
    const Tensor x = normal({n}, DType::F32);
    for (DType from : types)
      for (DType to : types) {
        Tensor values = x.clone(), start = Tensor::empty({n}, from);
        const bool bytes = from == DType::U8 || to == DType::U8;
        for (int64_t i = 0; i < n; ++i)
          values.data<float>()[i] = bytes ? float(below(256)) : 100 * x.data<float>()[i];
        convert(values, start);
        compare(concat("convert ", n, " ", name_of(from), " ", name_of(to)), 0,
                {start, Tensor::zeros({n}, to)}, {}, [](auto& t, auto&) { convert(t[0], t[1]); });
      }
    for (DType type : types)
      compare(concat("fill ", name_of(type)), 0, {Tensor::zeros({n}, type)}, {},
              [](auto& t, auto&) { fill(7.25, t[0]); });
  }
}

TEST_F(Parity, Random) {
  const RandomStream r{numbers_(), numbers_()};
  for (DType type : kFloats)
    for (const Shape& shape : kShapes) {
      const Tensor x = normal(shape, type), y = normal(shape, type);
      Tensor ids = indices(shape[0], 1000);
      for (int64_t i = 0; i < ids.numel(); ++i) ids.data<int64_t>()[i] += 2;
      const std::string name = concat(name_of(type), " ", to_string(shape));
      compare("dropout " + name, 0, {x, y}, {ids},
              [=](auto& t, auto& ids) { dropout(t[0], ids[0], r, 0.3, t[1]); });
      compare("dropout in place " + name, 0, {x}, {},
              [=](auto& t, auto&) { dropout(t[0], Tensor(), r, 0.3, t[0]); });
      if (type == DType::BF16) continue;
      for (int64_t first : {0, 3, 4096}) {
        compare("uniform " + name, 0, {y}, {},
                [=](auto& t, auto&) { random_uniform(r, first, -2, 3, t[0]); });
        compare("normal " + name, 0, {y}, {},
                [=](auto& t, auto&) { random_normal(r, first, 1.5, t[0]); });
      }
      compare("gumbel " + name, of_functions(type), {y}, {ids},
              [=](auto& t, auto& ids) { random_gumbel(r, ids[0], t[0]); });
      compare("gumbel, all rows " + name, of_functions(type), {y}, {},
              [=](auto& t, auto&) { random_gumbel(r, Tensor(), t[0]); });
    }
}

TEST_F(Parity, Rows) {
  for (DType type : kFloats)
    for (const Shape& shape : kShapes)
      for (bool odd : {false, true}) {
        const int64_t n = shape[0], c = shape[1];
        const double tolerance = of_sums(type);
        const std::string name = concat(name_of(type), " ", to_string(shape), odd ? " odd" : "");
        const DType number = compute_type(type);
        const Tensor x = normal(shape, type, odd), y = normal(shape, type),
                     dy = normal(shape, type), s = normal({n}, number), w = normal({c}, number),
                     b = normal({c}, number), rows = normal({n}, number);
        compare("scale_rows " + name, 0, {x, s, y}, {},
                [](auto& t, auto&) { scale_rows(t[0], t[1], t[2]); });
        compare("row_dot " + name, tolerance, {x, dy, s}, {},
                [](auto& t, auto&) { row_dot(t[0], t[1], t[2]); });
        compare("argmax " + name, 0, {x, Tensor::zeros({n}, DType::I64)}, {},
                [](auto& t, auto&) { argmax_rows(t[0], t[1]); });
        compare("softmax " + name, tolerance, {x, y}, {},
                [](auto& t, auto&) { softmax_forward(t[0], t[1]); });
        compare("softmax in place " + name, tolerance, {x}, {},
                [](auto& t, auto&) { softmax_forward(t[0], t[0]); });
        compare("softmax backward " + name, tolerance, {x, dy, y}, {},
                [](auto& t, auto&) { softmax_backward(t[0], t[1], t[2]); });
        compare("log_softmax " + name, tolerance, {x, y}, {},
                [](auto& t, auto&) { log_softmax_forward(t[0], t[1]); });
        compare("layer norm " + name, tolerance, {x, w, b, y, s, rows}, {}, [](auto& t, auto&) {
          layer_norm_forward(t[0], t[1], t[2], 1e-5, t[3], t[4], t[5]);
        });
        compare("layer norm backward " + name, tolerance,
                {x, w, s, rows, dy, y, b, normal({c}, number)}, {}, [](auto& t, auto&) {
                  layer_norm_backward(t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7]);
                });
        const Tensor target = indices(n, c);
        for (double smoothing : {0.0, 0.1}) {
          compare("cross-entropy " + name, tolerance, {x, s, rows, normal({n}, number)}, {target},
                  [=](auto& t, auto& target) {
                    cross_entropy_forward(t[0], target[0], -1, smoothing, t[1], t[2], t[3]);
                  });
          compare("cross-entropy backward " + name, tolerance, {x, s, rows}, {target},
                  [=](auto& t, auto& target) {
                    cross_entropy_backward(t[0], target[0], -1, smoothing, t[1], t[2], t[0]);
                  });
        }
      }
}

TEST_F(Parity, RowsWithoutProbabilityAndTies) {
  const float inf = std::numeric_limits<float>::infinity();
  for (int64_t c : {5, 64, 1100}) {
    const Tensor x = Tensor::full({3, c}, -inf);
    x.data<float>()[c + 4] = x.data<float>()[c + 2] = 3;  // the middle row: two equal elements
    compare("softmax", 0, {x, x.clone()}, {}, [](auto& t, auto&) { softmax_forward(t[0], t[1]); });
    compare("argmax", 0, {x, Tensor::zeros({3}, DType::I64)}, {},
            [](auto& t, auto&) { argmax_rows(t[0], t[1]); });
  }
}

TEST_F(Parity, SumsOverEverything) {
  for (DType type : kFloats)
    for (int64_t n : {0, 1, 7, 4096, 4097, 30000})
      for (bool odd : {false, true}) {
        const std::string name = concat(name_of(type), " ", n);
        const Tensor x = normal({n}, type, odd),
                     blocks = Tensor::zeros({(n + 4095) / 4096}, DType::F64);
        compare("sum_all " + name, 1e-12, {x, Tensor::zeros({1}, DType::F64)}, {},
                [](auto& t, auto&) { sum_all(t[0], t[1]); });
        if (type == DType::BF16) continue;
        compare("squared_norm " + name, 1e-12, {x, blocks}, {},
                [](auto& t, auto&) { squared_norm_blocks(t[0], t[1]); });
      }
}

TEST_F(Parity, LayerNormSumsOverManyRows) {
  for (DType type : kFloats)
    for (int64_t n : {64, 65, 200}) {
      const int64_t c = 6;
      const DType number = compute_type(type);
      const Tensor x = normal({n, c}, type), s = normal({n}, number), w = normal({c}, number);
      compare(concat("rows ", n), of_sums(type) * 10, {x, w, s, s, normal({n, c}, type), x, w, w},
              {}, [](auto& t, auto&) {
                layer_norm_backward(t[0], t[1], t[2], t[3], t[4], t[5], t[6], t[7]);
              });
    }
}

TEST_F(Parity, GroupedSumRows) {
  for (DType type : kFloats)
    for (int64_t c : {1, 5, 132})
      for (const std::vector<int64_t>& offsets : std::vector<std::vector<int64_t>>{
               {0, 0}, {0, 1}, {0, 64}, {0, 65}, {0, 0, 3, 3, 40, 200, 200}, {0, 4500, 4501}}) {
        const Tensor o = Tensor::of(offsets), x = normal({offsets.back(), c}, type);
        const double tolerance = offsets.back() <= 64 ? 0 : of_sums(type) * 10;
        compare(concat("sums ", name_of(type), " ", c, " ", offsets.back()), tolerance,
                {x, normal({o.numel() - 1, c}, compute_type(type))}, {},
                [&](auto& t, auto&) { grouped_sum_rows(t[0], o, t[1]); });
      }
}

TEST_F(Parity, GatherAndScatter) {
  for (DType type : kFloats)
    for (int64_t c : {1, 7, 132})
      for (int64_t n : {0, 1, 150})
        for (int64_t m : {1, 3, 300}) {
          const std::string name = concat(name_of(type), " ", n, " x ", c, " of ", m);
          const Tensor at = indices(n, m), x = normal({n, c}, type, m == 3),
                       y = normal({m, c}, type);
          compare("gather " + name, 0, {y, x}, {at},
                  [](auto& t, auto& at) { gather_rows(t[0], at[0], t[1]); });
          compare("scatter " + name, m == 300 ? 0 : of_sums(type), {x, y}, {at},
                  [](auto& t, auto& at) { scatter_add_rows(t[0], at[0], t[1]); });
        }
}

TEST_F(Parity, Combine) {
  for (DType type : kFloats)
    for (int64_t c : {5, 132, 1100})
      for (int64_t tokens : {0, 1, 20}) {
        std::vector<int64_t> offsets = {0}, position;
        int64_t rows = 2;  // two that nobody chose
        for (int64_t s = 0; s < tokens; ++s) {
          for (int64_t k = below(4); k > 0; --k) position.push_back(below(4) ? rows++ : -1);
          offsets.push_back(int64_t(position.size()));
        }
        std::vector<int64_t> order(rows);
        for (int64_t i = 0; i < rows; ++i) order[i] = i;
        std::shuffle(order.begin(), order.end(), numbers_);
        for (int64_t& p : position) p = p < 0 ? p : order[p];
        const Tensor o = Tensor::of(offsets), at = Tensor::of(position),
                     w = normal({at.numel()}, compute_type(type));
        const Tensor x = normal({rows, c}, type), y = normal({tokens, c}, type);
        const std::string name = concat(name_of(type), " ", tokens, " x ", c);
        compare("combine " + name, 0, {x, w, y}, {o, at},
                [](auto& t, auto& i) { combine_forward(t[0], i[0], i[1], t[1], t[2]); });
        compare("combine backward " + name, of_sums(type), {y, x, w, normal({rows, c}, type), w},
                {o, at}, [](auto& t, auto& i) {
                  combine_backward(t[0], t[1], i[0], i[1], t[2], t[3], t[4]);
                });
      }
}

TEST_F(Parity, WrongIndicesOnTheHostAreErrors) {
  const Tensor x = Tensor::zeros({3, 2}, DType::F32, Device::CUDA);
  Tensor y = Tensor::zeros({1, 2}, DType::F32, Device::CUDA),
         s = Tensor::zeros({1}, DType::F32, Device::CUDA);
  for (int64_t i : {-2, 3}) {
    EXPECT_THROW(gather_rows(x, Tensor::of<int64_t>({i}), y), Error);
    Tensor z = x.clone();
    EXPECT_THROW(scatter_add_rows(y, Tensor::of<int64_t>({i}), z), Error);
    EXPECT_THROW(cross_entropy_forward(y, Tensor::of<int64_t>({i}), -1, 0.0, s, s, s), Error);
  }
  EXPECT_THROW(dropout(x, Tensor(), RandomStream(), 1.0, y), Error);
}

}  // namespace
}  // namespace switchyard
