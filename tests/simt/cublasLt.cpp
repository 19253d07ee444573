// cuBLASLt on the host: see cublasLt.h. out = alpha op(a) op(b) + beta c + bias, column-major.
#include <cublasLt.h>

#include <atomic>
#include <cstdlib>
#include <initializer_list>
#include <vector>

#include "tensor/dtype.h"

namespace {

using switchyard::BFloat16;
using Layout = cublasLtMatrixLayoutOpaque_t;
constexpr uint64_t kWorkspace = 4096;  // what every algorithm here asks for, and overwrites

template <class T>
cublasStatus_t assign(T& to, const void* value, size_t bytes) {
  if (!value || bytes != sizeof to) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&to, value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

int64_t size_of(cudaDataType t) { return t == CUDA_R_64F ? 8 : t == CUDA_R_32F ? 4 : 2; }

uint64_t mixed(std::initializer_list<uint64_t> values) {
  uint64_t h = 0xCBF29CE484222325ull;
  for (uint64_t v : values) h = (h ^ v) * 0x100000001B3ull;
  return h;
}
uint64_t fingerprint(const Layout& l) {
  return mixed(
      {uint64_t(l.type), uint64_t(l.batch), l.rows, l.columns, uint64_t(l.ld), uint64_t(l.step)});
}
uint64_t fingerprint(const cublasLtMatmulDescOpaque_t& d, const Layout& a, const Layout& b,
                     const Layout& out) {
  return mixed({uint64_t(d.compute), uint64_t(d.transpose_a), uint64_t(d.transpose_b), d.epilogue,
                fingerprint(a), fingerprint(b), fingerprint(out)});
}

// Column-major sizes after the operation
struct Size {
  uint64_t rows, columns;
};
Size size_after(const Layout& l, int32_t transpose) {
  return transpose ? Size{l.columns, l.rows} : Size{l.rows, l.columns};
}

cublasStatus_t validate(const cublasLtMatmulDescOpaque_t& d, const Layout& a, const Layout& b,
                        const Layout& c, const Layout& out) {
  const Size sa = size_after(a, d.transpose_a), sb = size_after(b, d.transpose_b);
  for (const Layout* l : {&a, &b, &c, &out})
    if (l->rows == 0 || l->columns == 0 || l->ld < int64_t(l->rows) || l->batch < 1 ||
        l->batch != out.batch)
      return CUBLAS_STATUS_INVALID_VALUE;
  if (sa.rows != out.rows || sb.columns != out.columns || sa.columns != sb.rows ||
      c.rows != out.rows || c.columns != out.columns || c.type != out.type)
    return CUBLAS_STATUS_INVALID_VALUE;
  // The matrices of the output's batch may not overlap.
  const int64_t extent = int64_t(out.columns - 1) * out.ld + int64_t(out.rows);
  const bool interleaved = out.step >= int64_t(out.rows) && out.step * out.batch <= out.ld;
  if (out.batch > 1 && out.step < extent && !interleaved) return CUBLAS_STATUS_INVALID_VALUE;
  const bool bias = d.epilogue == CUBLASLT_EPILOGUE_BIAS;
  if (bias ? !d.bias : d.epilogue != CUBLASLT_EPILOGUE_DEFAULT) return CUBLAS_STATUS_INVALID_VALUE;
  const bool f64 = d.compute == CUBLAS_COMPUTE_64F;
  if (a.type != b.type || d.scale != (f64 ? CUDA_R_64F : CUDA_R_32F) ||
      (a.type == CUDA_R_64F) != f64 ||
      (out.type != a.type && !(a.type == CUDA_R_16BF && out.type == CUDA_R_32F)))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  if (bias && (f64 || out.batch > 1 || reinterpret_cast<uintptr_t>(d.bias) % 16 != 0 ||
               (out.type == CUDA_R_16BF && out.rows % 8 != 0)))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  return CUBLAS_STATUS_SUCCESS;
}

// The whole batch lies in one allocation, and every matrix of it is aligned
bool reachable(const void* p, const Layout& l, uint64_t align) {
  const int64_t last = (l.batch - 1) * l.step + int64_t(l.columns - 1) * l.ld + int64_t(l.rows);
  return p && simt::inside_allocation(p, size_t(last * size_of(l.type))) &&
         reinterpret_cast<uintptr_t>(p) % align == 0 &&
         (l.batch == 1 || uint64_t(l.step * size_of(l.type)) % align == 0);
}
void use_batch(simt::Work& work, const void* p, const Layout& l, simt::Use use) {
  const auto bytes = [&](int64_t n) { return size_t(n * size_of(l.type)); };
  for (int64_t i = 0; i < l.batch; ++i)
    work.use_rows(static_cast<const char*>(p) + bytes(i * l.step), l.columns,
                  bytes(int64_t(l.rows)), bytes(l.ld), use);
}

template <class T, class Out, class Sum>
void multiply(const cublasLtMatmulDescOpaque_t& d, Sum alpha, const T* a, const Layout& la,
              const T* b, const Layout& lb, Sum beta, const Out* c, const Layout& lc, Out* out,
              const Layout& lo) {
  const int64_t m = int64_t(lo.rows), n = int64_t(lo.columns);
  const int64_t k = int64_t(size_after(la, d.transpose_a).columns);
  const Out* bias =
      d.epilogue == CUBLASLT_EPILOGUE_BIAS ? static_cast<const Out*>(d.bias) : nullptr;
  std::vector<Sum> packed(m * k), sum(2 * m);
  for (int64_t l = 0; l < k; ++l)
    for (int64_t i = 0; i < m; ++i)
      packed[l * m + i] = Sum(d.transpose_a ? a[l + i * la.ld] : a[i + l * la.ld]);
  for (int64_t j = 0; j < n; ++j) {
    std::fill(sum.begin(), sum.end(), Sum(0));
    for (int64_t l = 0; l < k; ++l) {  // k is split in two: another order than the CPU kernels'
      const Sum x = Sum(d.transpose_b ? b[j + l * lb.ld] : b[l + j * lb.ld]);
      const Sum* column = &packed[l * m];
      Sum* own = &sum[l < k / 2 ? 0 : m];
      for (int64_t i = 0; i < m; ++i) own[i] = std::fma(column[i], x, own[i]);
    }
    for (int64_t i = 0; i < m; ++i) {
      Sum y = alpha * (sum[i] + sum[m + i]);
      if (beta != 0) y += beta * Sum(c[i + j * lc.ld]);
      if (bias) y += Sum(bias[i]);
      out[i + j * lo.ld] = Out(y);
    }
  }
}

template <class T, class Out, class Sum>
void multiply_batch(const cublasLtMatmulDescOpaque_t& d, const void* alpha, const void* pa,
                    const Layout& a, const void* pb, const Layout& b, const void* beta,
                    const void* pc, const Layout& c, void* pout, const Layout& out) {
  for (int64_t i = 0; i < out.batch; ++i)
    multiply<T, Out, Sum>(
        d, *static_cast<const Sum*>(alpha), static_cast<const T*>(pa) + i * a.step, a,
        static_cast<const T*>(pb) + i * b.step, b, *static_cast<const Sum*>(beta),
        static_cast<const Out*>(pc) + i * c.step, c, static_cast<Out*>(pout) + i * out.step, out);
}

}  // namespace

struct SimtCublasLt {};

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = new SimtCublasLt;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}
const char* cublasLtGetStatusString(cublasStatus_t status) {
  return status == CUBLAS_STATUS_SUCCESS         ? "no error"
         : status == CUBLAS_STATUS_INVALID_VALUE ? "invalid value"
         : status == CUBLAS_STATUS_NOT_SUPPORTED ? "not supported"
                                                 : "execution failed";
}

cublasStatus_t cublasLtMatrixLayoutInit(cublasLtMatrixLayout_t l, cudaDataType type, uint64_t rows,
                                        uint64_t columns, int64_t ld) {
  *l = {type, 1, rows, columns, ld, 0};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t l,
                                                cublasLtMatrixLayoutAttribute_t name,
                                                const void* value, size_t bytes) {
  return name == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT ? assign(l->batch, value, bytes)
                                                    : assign(l->step, value, bytes);
}
cublasStatus_t cublasLtMatmulDescInit(cublasLtMatmulDesc_t d, cublasComputeType_t compute,
                                      cudaDataType scale) {
  *d = {compute, scale, CUBLAS_OP_N, CUBLAS_OP_N, CUBLASLT_EPILOGUE_DEFAULT, nullptr};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d,
                                              cublasLtMatmulDescAttributes_t name,
                                              const void* value, size_t bytes) {
  switch (name) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return assign(d->transpose_a, value, bytes);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return assign(d->transpose_b, value, bytes);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return assign(d->epilogue, value, bytes);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return assign(d->bias, value, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasLtMatmulPreferenceInit(cublasLtMatmulPreference_t p) {
  *p = {0, CUBLASLT_REDUCTION_SCHEME_MASK, 256, 256, 256, 256};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                    cublasLtMatmulPreferenceAttributes_t name,
                                                    const void* value, size_t bytes) {
  switch (name) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return assign(p->workspace, value, bytes);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return assign(p->reductions, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      return assign(p->align_a, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      return assign(p->align_b, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      return assign(p->align_c, value, bytes);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return assign(p->align_d, value, bytes);
  }
  return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t d,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t out,
                                              cublasLtMatmulPreference_t p, int wanted,
                                              cublasLtMatmulHeuristicResult_t* results,
                                              int* found) {
  *found = 0;
  if (!handle || wanted < 1) return CUBLAS_STATUS_INVALID_VALUE;
  const cublasStatus_t status = validate(*d, *a, *b, *c, *out);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  const uint64_t workspace = std::min(p->workspace, kWorkspace);
  results[0] = {{{fingerprint(*d, *a, *b, *out), workspace, p->align_a, p->align_b, p->align_c,
                  p->align_d, 0, 0}},
                workspace,
                CUBLAS_STATUS_SUCCESS,
                1};
  *found = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t d, const void* alpha,
                              const void* pa, cublasLtMatrixLayout_t a, const void* pb,
                              cublasLtMatrixLayout_t b, const void* beta, const void* pc,
                              cublasLtMatrixLayout_t c, void* pout, cublasLtMatrixLayout_t out,
                              const cublasLtMatmulAlgo_t* algorithm, void* workspace,
                              size_t workspace_bytes, cudaStream_t stream) {
  simt::Work work(stream, "a matrix product");
  if (!handle || !alpha || !beta || !algorithm) return CUBLAS_STATUS_INVALID_VALUE;
  const cublasStatus_t status = validate(*d, *a, *b, *c, *out);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  const auto& [chosen_for, needed, align_a, align_b, align_c, align_d, x, y] = algorithm->data;
  if (chosen_for != fingerprint(*d, *a, *b, *out) || workspace_bytes < needed ||
      reinterpret_cast<uintptr_t>(workspace) % 256 != 0 ||
      (needed && !simt::inside_allocation(workspace, workspace_bytes)))
    return CUBLAS_STATUS_INVALID_VALUE;
  if (!reachable(pa, *a, align_a) || !reachable(pb, *b, align_b) || !reachable(pc, *c, align_c) ||
      !reachable(pout, *out, align_d) ||
      (d->epilogue == CUBLASLT_EPILOGUE_BIAS &&
       !simt::inside_allocation(d->bias, out->rows * size_t(size_of(out->type)))))
    return CUBLAS_STATUS_EXECUTION_FAILED;
  const bool adds = d->scale == CUDA_R_64F ? *static_cast<const double*>(beta) != 0
                                           : *static_cast<const float*>(beta) != 0;
  using simt::Use;
  use_batch(work, pa, *a, Use::Read);
  use_batch(work, pb, *b, Use::Read);
  if (adds) use_batch(work, pc, *c, Use::Read);
  if (d->epilogue == CUBLASLT_EPILOGUE_BIAS)
    work.use(d->bias, out->rows * size_t(size_of(out->type)), Use::Read);
  use_batch(work, pout, *out, Use::Write);
  work.use(workspace, needed, Use::Write);
  if (needed) std::memset(workspace, 0xFF, needed);
  const auto run = [&]<class T, class Out, class Sum>(T, Out, Sum) {
    multiply_batch<T, Out, Sum>(*d, alpha, pa, *a, pb, *b, beta, pc, *c, pout, *out);
  };
  if (out->type == CUDA_R_64F) run(double(), double(), double());
  else if (a->type == CUDA_R_32F) run(float(), float(), float());
  else if (out->type == CUDA_R_32F) run(BFloat16(), float(), float());
  else run(BFloat16(), BFloat16(), float());
  return CUBLAS_STATUS_SUCCESS;
}
