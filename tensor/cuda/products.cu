// Matrix products through cuBLASLt. It counts columns first: a row-major [r, c] matrix with pitch p is its
// [c, r] matrix with leading dimension p, so that c = a b becomes c' = b' a' and nothing is transposed.
// f32 is true f32, never TF32. The algorithm is chosen once for each kind of product, by a function of that
// kind alone, and sums that are split go through the workspace of the stream: the bits do not depend on
// what ran before or beside.
#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "tensor/cuda/products.h"

#define CUBLAS_CHECK(call) check_cublas((call), #call)

namespace switchyard::cuda {
namespace {

constexpr int kStreams = 4;
constexpr uint64_t kWorkspace = 32 << 20;  // bytes for each stream
constexpr size_t kMostAlgorithms = 1 << 14;

void check_cublas(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw Error(concat("cuBLASLt: ", cublasLtGetStatusString(status), " in ", call));
}

using Kind = std::array<int64_t, 17>;  // all that the choice of an algorithm depends on
using Algorithm = std::optional<cublasLtMatmulAlgo_t>;  // nothing: the library has none

// Of one rank thread. The workspaces keep the rank's stream alive (see allocate()) until this is gone.
struct Library {
  Library() {
    CUBLAS_CHECK(cublasLtCreate(&handle));
    streams[0] = stream();
    for (int i = 0; i < kStreams; ++i) {
      workspaces[i] = allocate(kWorkspace);
      CUDA_CHECK(cudaEventCreateWithFlags(&events[i], cudaEventDisableTiming));
      if (i > 0) CUDA_CHECK(cudaStreamCreateWithFlags(&streams[i], cudaStreamNonBlocking));
    }
  }
  ~Library() {
    for (int i = 0; i < kStreams; ++i) {
      cudaStreamSynchronize(streams[i]);
      if (i > 0) cudaStreamDestroy(streams[i]);
      cudaEventDestroy(events[i]);
    }
    cublasLtDestroy(handle);
  }
  Library(const Library&) = delete;

  cublasLtHandle_t handle = nullptr;
  std::array<cudaStream_t, kStreams> streams = {};  // the first is the rank's own
  std::array<cudaEvent_t, kStreams> events = {};
  std::array<std::shared_ptr<std::byte>, kStreams> workspaces;
  std::map<Kind, Algorithm> algorithms;
};

Library& library() {
  thread_local std::unique_ptr<Library> own;
  if (!own || own->streams[0] != stream())
    own = std::make_unique<Library>();  // first, or new device
  return *own;
}

cudaDataType data_type(DType t) {
  if (t == DType::F32) return CUDA_R_32F;
  if (t == DType::F64) return CUDA_R_64F;
  if (t == DType::BF16) return CUDA_R_16BF;
  throw Error(concat("matrix product: needs f32, f64 or bf16, got ", name_of(t)));
}

// The power of two that divides both the address and what is added to it, up to `most` bytes
uint32_t alignment(const void* p, int64_t step_bytes, uint64_t most) {
  const uint64_t bits = reinterpret_cast<uintptr_t>(p) | uint64_t(step_bytes) | most;
  return uint32_t(bits & -bits);
}
uint32_t alignment(const Matrix& x) {  // no kernel asks for more than 16
  return alignment(x.data, x.step * size_of(x.type), 16);
}

cublasLtMatrixLayoutOpaque_t layout(const Matrix& x, int64_t batch) {
  cublasLtMatrixLayoutOpaque_t l;
  CUBLAS_CHECK(cublasLtMatrixLayoutInit(&l, data_type(x.type), uint64_t(x.columns),
                                        uint64_t(x.rows), x.pitch));
  const auto count = int32_t(batch);
  CUBLAS_CHECK(cublasLtMatrixLayoutSetAttribute(&l, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
                                                sizeof count));
  CUBLAS_CHECK(cublasLtMatrixLayoutSetAttribute(&l, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                                &x.step, sizeof x.step));
  return l;
}

template <class T>
void set(cublasLtMatmulDescOpaque_t& d, cublasLtMatmulDescAttributes_t name, T value) {
  CUBLAS_CHECK(cublasLtMatmulDescSetAttribute(&d, name, &value, sizeof value));
}
template <class T>
void set(cublasLtMatmulPreferenceOpaque_t& p, cublasLtMatmulPreferenceAttributes_t name, T value) {
  CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(&p, name, &value, sizeof value));
}

// A product as cuBLASLt sees it: first operand b', second a'.
struct Call {
  Call(const Product& p, bool with_bias)
      : first(layout(p.b, p.batch)), second(layout(p.a, p.batch)), out(layout(p.c, p.batch)) {
    const bool f64 = p.c.type == DType::F64;
    CUBLAS_CHECK(cublasLtMatmulDescInit(&operation, f64 ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F,
                                        f64 ? CUDA_R_64F : CUDA_R_32F));
    const auto op = [](const Matrix& x) {
      return int32_t(x.transpose ? CUBLAS_OP_T : CUBLAS_OP_N);
    };
    set(operation, CUBLASLT_MATMUL_DESC_TRANSA, op(p.b));
    set(operation, CUBLASLT_MATMUL_DESC_TRANSB, op(p.a));
    if (with_bias) {
      set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE, uint32_t(CUBLASLT_EPILOGUE_BIAS));
      set(operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
    }
  }
  cublasLtMatmulDescOpaque_t operation;
  cublasLtMatrixLayoutOpaque_t first, second, out;
};

Algorithm choose(Library& lib, const Product& p, Call& call) {
  cublasLtMatmulPreferenceOpaque_t wishes;
  CUBLAS_CHECK(cublasLtMatmulPreferenceInit(&wishes));
  set(wishes, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kWorkspace);
  set(wishes, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      uint32_t(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  set(wishes, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(p.b));
  set(wishes, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(p.a));
  set(wishes, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment(p.c));
  set(wishes, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment(p.c));
  cublasLtMatmulHeuristicResult_t best;
  int found = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(lib.handle, &call.operation, &call.first, &call.second,
                                     &call.out, &call.out, &wishes, 1, &best, &found);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || (status == CUBLAS_STATUS_SUCCESS && found == 0))
    return std::nullopt;
  check_cublas(status, "cublasLtMatmulAlgoGetHeuristic");
  check_cublas(best.state, "cublasLtMatmulAlgoGetHeuristic");
  return best.algo;
}

Kind kind_of(const Product& p, bool with_bias) {
  Kind kind = {with_bias ? alignment(p.bias, 0, 256) : 0,
               p.batch};  // the library looks at the pointer
  auto next = kind.begin() + 2;
  for (const Matrix* x : {&p.a, &p.b, &p.c})
    for (int64_t v : {x->rows, x->columns, x->pitch, x->step,
                      int64_t(x->type) << 8 | int64_t(alignment(*x)) << 1 | int64_t(x->transpose)})
      *next++ = v;
  return kind;
}

// On stream `at`, the bias in its epilogue or left out; false: there is no algorithm for it
bool multiply(Library& lib, const Product& p, bool with_bias, int at) {
  Call call(p, with_bias);
  if (lib.algorithms.size() >= kMostAlgorithms) lib.algorithms.clear();
  const auto [entry, is_new] = lib.algorithms.try_emplace(kind_of(p, with_bias));
  if (is_new) entry->second = choose(lib, p, call);
  if (!entry->second) return false;
  const double alpha = p.alpha, zero = 0;
  const float alpha32 = float(alpha), zero32 = 0;
  const bool f64 = p.c.type == DType::F64;
  check_cublas(
      cublasLtMatmul(lib.handle, &call.operation, f64 ? static_cast<const void*>(&alpha) : &alpha32,
                     p.b.data, &call.first, p.a.data, &call.second,
                     f64 ? static_cast<const void*>(&zero) : &zero32, p.c.data, &call.out, p.c.data,
                     &call.out, &*entry->second, lib.workspaces[at].get(), kWorkspace,
                     lib.streams[at]),
      "cublasLtMatmul");
  return true;
}

// Whether the epilogue may read the bias: 16-byte aligned, bf16 in whole groups of 8; not documented for f64.
bool fits_epilogue(const Product& p) {
  return p.bias && p.c.type != DType::F64 && alignment(p.bias, 0, 16) == 16 &&
         (p.c.type != DType::BF16 || p.c.columns % 8 == 0);
}

// c [rows, columns] += bias, or c = bias when nothing was summed (k = 0); no bias counts as 0
template <class T>
__global__ void add_bias_kernel(T* c, int64_t n, int64_t columns, int64_t pitch, const T* bias,
                                bool summed) {
  using Sum = std::conditional_t<std::is_same_v<T, double>, double, float>;
  for (int64_t i = blockIdx.x * int64_t(blockDim.x) + threadIdx.x; i < n;
       i += int64_t(gridDim.x) * blockDim.x) {
    T& element = c[i / columns * pitch + i % columns];
    element = T((summed ? Sum(element) : Sum(0)) + (bias ? Sum(bias[i % columns]) : Sum(0)));
  }
}

template <class T>
void add_bias(const Product& p, bool summed) {
  const int64_t n = p.c.rows * p.c.columns;
  for (int64_t b = 0; b < p.batch; ++b)
    launch(add_bias_kernel<T>, unsigned(std::min<int64_t>(ceil_div(n, 256), 1 << 16)), 256, 0,
           static_cast<T*>(p.c.data) + b * p.c.step, n, p.c.columns, p.c.pitch,
           static_cast<const T*>(p.bias), summed);
}

int64_t inner(const Product& p) { return p.a.transpose ? p.a.rows : p.a.columns; }

void check_product(const Product& p) {
  const auto size = [](const Matrix& x) {
    return x.transpose ? std::array{x.columns, x.rows} : std::array{x.rows, x.columns};
  };
  const auto a = size(p.a), b = size(p.b), c = size(p.c);
  if (a[0] != c[0] || a[1] != b[0] || b[1] != c[1] || p.c.transpose)
    throw Error(concat("matrix product: [", a[0], ", ", a[1], "] times [", b[0], ", ", b[1],
                       "] does not give [", c[0], ", ", c[1], "]"));
  if (p.a.type != p.b.type ||
      (p.c.type != p.a.type && !(p.a.type == DType::BF16 && p.c.type == DType::F32)))
    throw Error(concat("matrix product: ", name_of(p.a.type), " times ", name_of(p.b.type),
                       " into ", name_of(p.c.type)));
  check(!p.bias || p.batch == 1, "matrix product: a bias in a batch");
}

}  // namespace

void multiply_all(const std::vector<Product>& products) {
  std::vector<const Product*> whole, empty, without_bias;  // empty: nothing to sum, c is the bias
  for (const Product& p : products) {
    check_product(p);
    if (p.c.rows * p.c.columns * p.batch > 0) (inner(p) > 0 ? whole : empty).push_back(&p);
  }
  Library& lib = library();
  const int streams = int(std::min<size_t>(whole.size(), kStreams));
  if (streams > 1) CUDA_CHECK(cudaEventRecord(lib.events[0], lib.streams[0]));
  for (int s = 1; s < streams; ++s) CUDA_CHECK(cudaStreamWaitEvent(lib.streams[s], lib.events[0]));
  for (size_t i = 0; i < whole.size(); ++i) {
    const Product& p = *whole[i];
    const int at = int(i % kStreams);
    if (fits_epilogue(p) && multiply(lib, p, true, at)) continue;
    if (!multiply(lib, p, false, at))
      throw Error(concat("cuBLASLt has no algorithm for a product of ", name_of(p.a.type), " [",
                         p.c.rows, ", ", inner(p), "] by [", inner(p), ", ", p.c.columns, "]"));
    if (p.bias) without_bias.push_back(&p);
  }
  for (int s = 1; s < streams; ++s) {
    CUDA_CHECK(cudaEventRecord(lib.events[s], lib.streams[s]));
    CUDA_CHECK(cudaStreamWaitEvent(lib.streams[0], lib.events[s]));
  }
  for (const auto& [list, summed] : {std::pair{&without_bias, true}, std::pair{&empty, false}})
    for (const Product* p : *list) {
      if (p->c.type == DType::F64) add_bias<double>(*p, summed);
      else if (p->c.type == DType::F32) add_bias<float>(*p, summed);
      else add_bias<BFloat16>(*p, summed);
    }
}

}  // namespace switchyard::cuda
