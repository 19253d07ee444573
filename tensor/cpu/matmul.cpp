// Matrix products over threads. The work is laid out on one line: product by product, column block by
// column block, row by row, each row as long as its k. Every thread takes an equal stretch of the line,
// so that many small experts, one big expert and a tall matrix all keep every thread busy.
#include "tensor/cpu/matmul.h"

#include <cstdlib>
#include <string>

#include "tensor/cpu/loops.h"

namespace switchyard::cpu {
namespace {

bool choose_avx512() {
  const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512vl") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512cd");
  const char* wanted = std::getenv("SWITCHYARD_ISA");
  const std::string isa = wanted ? wanted : "";
  user_check(isa.empty() || isa == "avx2" || isa == "avx512",
             concat("SWITCHYARD_ISA=", isa, ": expected avx2 or avx512"));
  user_check(isa != "avx512" || has_avx512,
             "SWITCHYARD_ISA=avx512: this CPU has no AVX-512; use avx2 or unset the variable");
  return has_avx512 && isa != "avx2";
}

template <class T>
const GemmIsa<T>& gemm_isa() {
  static const bool avx512 = choose_avx512();
  if constexpr (std::is_same_v<T, float>) return avx512 ? kAvx512F32 : kAvx2F32;
  else return avx512 ? kAvx512F64 : kAvx2F64;
}

// Per-thread memory for packed blocks; not a tensor, so not from the allocator and its counters
template <class T>
T* scratch() {
  struct alignas(64) CacheLine {
    std::byte bytes[64];
  };
  thread_local std::vector<CacheLine> memory(gemm_isa<T>().scratch_bytes / sizeof(CacheLine));
  return reinterpret_cast<T*>(memory.data());
}

}  // namespace

template <class T>
void multiply_here(const Product<T>& p) {
  if (p.m && p.n) gemm_isa<T>().multiply(p, 0, p.m, 0, p.n, scratch<T>());
}

template <class T>
void multiply_all(const std::vector<Product<T>>& products) {
  const GemmIsa<T>& isa = gemm_isa<T>();
  const int64_t threads = num_threads();  // the caller's: workers know nothing of it
  // Few rows and many columns: narrow blocks, so that each thread finds columns of its own to pack.
  const auto block_of = [&](const Product<T>& p) {
    return p.m >= 64 * threads ? std::max<int64_t>(p.n, 1)
                               : std::clamp<int64_t>(p.n / threads / 32 * 32, 32, isa.column_block);
  };
  const auto length_of = [](const Product<T>& p) { return std::max<int64_t>(p.k, 1); };
  int64_t total = 0, multiplications = 0;
  for (const auto& p : products) {
    total += (p.n + block_of(p) - 1) / block_of(p) * p.m * length_of(p);
    multiplications += p.m * p.n * length_of(p);
  }
  // At least 2^19 multiplications (about 10 us) for each thread, or waking it does not pay.
  const int64_t grain = int64_t(double(total) * (1 << 19) / double(multiplications + 1)) + 1;
  parallel_for(total, grain, [&](int64_t begin, int64_t end) {
    int64_t at = 0;  // position on the line
    for (const auto& p : products) {
      const int64_t block = block_of(p), length = length_of(p);
      for (int64_t column = 0; column < p.n && at < end; column += block) {
        // A row belongs to the thread in whose stretch it starts.
        const auto row_at = [&](int64_t position) {
          return std::clamp<int64_t>((position - at + length - 1) / length, 0, p.m);
        };
        const int64_t first = row_at(begin), last = row_at(end);
        if (first < last)
          isa.multiply(p, first, last, column, std::min(column + block, p.n), scratch<T>());
        at += p.m * length;
      }
    }
  });
}
template void multiply_here(const Product<float>&);
template void multiply_here(const Product<double>&);
template void multiply_all(const std::vector<Product<float>>&);
template void multiply_all(const std::vector<Product<double>>&);

void matmul(const Tensor& a, bool transpose_a, const Tensor& b, bool transpose_b,
            const Tensor& bias, bool accumulate, Tensor& c) {
  check(a.rank() == 2 && b.rank() == 2 && c.rank() == 2, "matmul: needs matrices");
  const int64_t m = a.dim(transpose_a ? 1 : 0), k = a.dim(transpose_a ? 0 : 1);
  const int64_t n = b.dim(transpose_b ? 0 : 1);
  if (b.dim(transpose_b ? 1 : 0) != k || c.dim(0) != m || c.dim(1) != n)
    throw Error(concat("matmul: ", to_string(a.shape()), transpose_a ? "^T" : "", " x ",
                       to_string(b.shape()), transpose_b ? "^T" : "", " into ",
                       to_string(c.shape())));
  if (bias.defined()) check_numel("matmul: bias", n, bias);
  FLOAT_DISPATCH(a.dtype(), T, {
    multiply_all<T>({{m, n, k, a.data<T>(), a.dim(1), transpose_a, b.data<T>(), b.dim(1),
                      transpose_b, c.data<T>(), n, bias.data<T>(), accumulate}});
  });
}

}  // namespace switchyard::cpu
