// Matrix products over threads; grouped products multiply the rows of every expert, sorted by expert.
// The work is laid out on one line: product by product, column block by column block, row by row. Every
// thread takes an equal stretch of the line, in one parallel region, so that many small experts, one big
// expert and a tall matrix all keep every thread busy. The output is cut, never k.
// The instruction set is AVX-512 where the CPU has it, else AVX2; SWITCHYARD_ISA=avx2|avx512 chooses (for
// tests: both give the same bits).
#include <cstdlib>
#include <string>

#include "tensor/cpu/loops.h"
#include "tensor/cpu/product.h"

namespace switchyard::cpu {
namespace {

bool choose_avx512() {
  const bool has_avx512 = __builtin_cpu_supports("x86-64-v4");
  const char* wanted = std::getenv("SWITCHYARD_ISA");
  const std::string isa = wanted ? wanted : "";
  user_check(isa.empty() || isa == "avx2" || isa == "avx512",
             concat("SWITCHYARD_ISA=", isa, ": expected avx2 or avx512"));
  user_check(isa != "avx512" || has_avx512,
             "SWITCHYARD_ISA=avx512: this CPU has no AVX-512; use avx2 or unset the variable");
  return has_avx512 && isa != "avx2";
}

template <class T>
Multiply<T> chosen_multiply() {
  static const bool avx512 = choose_avx512();
  if constexpr (sizeof(T) == 4) return avx512 ? kAvx512F32 : kAvx2F32;
  else return avx512 ? kAvx512F64 : kAvx2F64;
}

template <class T>
void multiply_all(const std::vector<Product<T>>& products) {
  const Multiply<T> multiply = chosen_multiply<T>();
  const int64_t threads = num_threads();  // the caller's: workers know nothing of it
  int64_t total = 0;                      // the line's length: multiplications
  for (const auto& p : products)
    total += p.c.rows * p.c.columns * std::max<int64_t>(p.a.columns, 1);
  // At least 2^19 multiplications (about 10 us) for each thread, or waking it does not pay.
  parallel_for(total, 1 << 19, [&](int64_t begin, int64_t end) {
    int64_t at = 0;  // position on the line
    for (const auto& [a, b, c, bias] : products) {
      // Few rows and many columns: narrow blocks, so that each thread has columns of its own to pack.
      const int64_t block = c.rows >= 64 * threads
                                ? c.columns
                                : std::clamp<int64_t>(c.columns / threads / 32 * 32, 32, 256);
      for (int64_t j = 0; j < c.columns; j += block) {
        const int64_t width = std::min(block, c.columns - j);
        const int64_t row = width * std::max<int64_t>(a.columns, 1);  // a row's stretch
        // It belongs to the thread in whose stretch it starts.
        const int64_t first = std::clamp<int64_t>((begin - at + row - 1) / row, 0, c.rows);
        const int64_t last = std::clamp<int64_t>((end - at + row - 1) / row, 0, c.rows);
        if (first < last)
          multiply({a.part(first, 0, last - first, a.columns), b.part(0, j, b.rows, width),
                    c.part(first, j, last - first, width), bias ? bias + j : nullptr});
        at += c.rows * row;
      }
    }
  });
}

// All dimensions but the last together count rows.
template <class T>
Matrix<T> matrix(const Tensor& x) {
  return {x.data<T>(), rows_of(x), columns_of(x), columns_of(x)};
}

}  // namespace

template <class T>
void multiply_here(const Product<T>& p) {
  chosen_multiply<T>()(p);
}
template void multiply_here(const Product<float>&);
template void multiply_here(const Product<double>&);

void grouped_matmul(const Tensor& x, const Tensor& offsets, const Tensor& w, bool transpose_w,
                    const Tensor& bias, Tensor& y) {
  const int64_t n = rows_of(x), *o = checked_offsets("grouped_matmul", offsets, n);
  const int64_t groups = offsets.numel() - 1;
  const Tensor weight = checked_weights(x, groups, w, transpose_w, bias, y);
  if (x.dtype() == DType::BF16) {  // f32 products of copies, rounded in the end
    Tensor sums = Tensor::empty(y.shape());
    grouped_matmul(x.to(DType::F32), offsets, w.to(DType::F32), transpose_w, bias.to(DType::F32),
                   sums);
    return convert(sums, y);
  }
  FLOAT_DISPATCH(x.dtype(), T, {
    std::vector<Product<T>> products;
    for (int64_t g = 0; g < groups; ++g) {
      const Matrix<T> own = matrix<T>(weight.slice(g, g + 1));
      products.push_back({matrix<T>(x.slice(o[g], o[g + 1])), transpose_w ? own.transposed() : own,
                          matrix<T>(y.slice(o[g], o[g + 1])),
                          bias.defined() ? bias.data<T>() + g * columns_of(y) : nullptr});
    }
    multiply_all(products);
  });
}

void grouped_matmul_dw(const Tensor& dy, const Tensor& x, const Tensor& offsets, Tensor& dw) {
  const int64_t n = rows_of(x), *o = checked_offsets("grouped_matmul_dw", offsets, n);
  const Tensor out = checked_dw(dy, x, offsets.numel() - 1, dw);
  if (x.dtype() == DType::BF16) {
    Tensor sums = Tensor::empty(dw.shape());
    grouped_matmul_dw(dy.to(DType::F32), x.to(DType::F32), offsets, sums);
    return convert(sums, dw);
  }
  FLOAT_DISPATCH(x.dtype(), T, {
    std::vector<Product<T>> products;
    for (int64_t g = 0; g < out.dim(0); ++g)
      products.push_back({matrix<T>(dy.slice(o[g], o[g + 1])).transposed(),
                          matrix<T>(x.slice(o[g], o[g + 1])), matrix<T>(out.slice(g, g + 1))});
    multiply_all(products);
  });
}

}  // namespace switchyard::cpu
