// Events, a device copy and cuBLASLt's product: see gpu_timing.h.
#include "bench/gpu_timing.h"

#include <cublasLt.h>

#include <algorithm>
#include <chrono>

#include "tensor/cuda/context.h"

namespace switchyard::bench {
namespace {

void check_cublas(cublasStatus_t status, const char* call) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw Error(concat("cuBLASLt: ", cublasLtGetStatusString(status), " in ", call));
}
#define CUBLAS_CHECK(call) check_cublas((call), #call)

double copy_rate() {
  const int64_t bytes = int64_t(8) << 30;
  const Tensor from = Tensor::empty({bytes}, DType::U8, Device::CUDA), to = empty_like(from);
  CUDA_CHECK(cudaMemsetAsync(from.raw(), 90, size_t(bytes), cuda::stream()));
  const auto copy = [&] { cuda::copy(from.raw(), Device::CUDA, to.raw(), Device::CUDA, bytes); };
  return 2.0 * double(bytes) / median_seconds({copy}, Device::CUDA, 3, 20);
}

Tensor random_square(int64_t n, DType dtype) {
  Tensor host = Tensor::empty({n, n});
  cpu::random_normal(random_stream(1, "bench"), 0, 1.0, host);
  return host.to(dtype).to(Device::CUDA);
}

double product_rate(int64_t n, DType dtype) {
  const cudaDataType_t type = dtype == DType::BF16 ? CUDA_R_16BF : CUDA_R_32F;
  const Tensor a = random_square(n, dtype), b = a.clone(), c = empty_like(a);
  const size_t workspace_bytes = size_t(32) << 20;
  const auto workspace = cuda::allocate(int64_t(workspace_bytes));
  cublasLtHandle_t handle;
  cublasLtMatmulDesc_t op;
  cublasLtMatrixLayout_t square;
  cublasLtMatmulPreference_t preference;
  CUBLAS_CHECK(cublasLtCreate(&handle));
  CUBLAS_CHECK(cublasLtMatmulDescCreate(&op, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  CUBLAS_CHECK(cublasLtMatrixLayoutCreate(&square, type, uint64_t(n), uint64_t(n), n));
  CUBLAS_CHECK(cublasLtMatmulPreferenceCreate(&preference));
  CUBLAS_CHECK(cublasLtMatmulPreferenceSetAttribute(preference,
                                                    CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                    &workspace_bytes, sizeof workspace_bytes));
  cublasLtMatmulHeuristicResult_t best;
  int found = 0;
  CUBLAS_CHECK(cublasLtMatmulAlgoGetHeuristic(handle, op, square, square, square, square,
                                              preference, 1, &best, &found));
  check(found > 0, "cuBLASLt has no algorithm for the ceiling's product");
  const float one = 1, zero = 0;
  const double seconds = median_seconds(
      {[&] {
        CUBLAS_CHECK(cublasLtMatmul(handle, op, &one, a.raw(), square, b.raw(), square, &zero,
                                    c.raw(), square, c.raw(), square, &best.algo, workspace.get(),
                                    workspace_bytes, cuda::stream()));
      }},
      Device::CUDA, 3, 20);
  cublasLtMatmulPreferenceDestroy(preference);
  cublasLtMatrixLayoutDestroy(square);
  cublasLtMatmulDescDestroy(op);
  cublasLtDestroy(handle);
  return 2.0 * double(n) * double(n) * double(n) / seconds;
}

double median(std::vector<double> x) {
  std::nth_element(x.begin(), x.begin() + int64_t(x.size() / 2), x.end());
  return x[x.size() / 2];
}

}  // namespace

Ceilings measure_ceilings() {
  return {copy_rate(), product_rate(8192, DType::BF16), product_rate(8192, DType::F32)};
}

int64_t l2_bytes() {
  int device = 0, bytes = 0;
  CUDA_CHECK(cudaGetDevice(&device));
  CUDA_CHECK(cudaDeviceGetAttribute(&bytes, cudaDevAttrL2CacheSize, device));
  return bytes;
}

double median_seconds(const std::vector<std::function<void()>>& calls, Device device, int warm_ups,
                      int runs) {
  const auto call = [&](int i) { calls[size_t(i) % calls.size()](); };
  for (int i = 0; i < warm_ups; ++i) call(i);
  std::vector<double> seconds;
  if (device == Device::CPU) {
    for (int i = 0; i < runs; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      call(i);
      seconds.push_back(
          std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    return median(seconds);
  }
  std::vector<cudaEvent_t> events(size_t(runs) * 2);
  for (cudaEvent_t& e : events) CUDA_CHECK(cudaEventCreate(&e));
  for (int i = 0; i < runs; ++i) {
    CUDA_CHECK(cudaEventRecord(events[size_t(2 * i)], cuda::stream()));
    call(i);
    CUDA_CHECK(cudaEventRecord(events[size_t(2 * i + 1)], cuda::stream()));
  }
  cuda::synchronize();
  for (int i = 0; i < runs; ++i) {
    float ms = 0;
    CUDA_CHECK(cudaEventElapsedTime(&ms, events[size_t(2 * i)], events[size_t(2 * i + 1)]));
    seconds.push_back(ms / 1e3);
  }
  for (cudaEvent_t e : events) cudaEventDestroy(e);
  return median(seconds);
}

}  // namespace switchyard::bench
