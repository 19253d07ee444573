// Asks cuDNN, on a machine without a GPU, whether an H200 would take the attention graphs of the product. A
// device descriptor is made from JSON; plans are compiled for it up to the loading of their code into the
// driver, which is the toolkit's stub here and says no: CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER means compiled.
// exit code 77: there is no libcuda.so.1 (a link to the stub, see tests/CMakeLists.txt).
// CUDNN_LOGLEVEL_DBG=2 CUDNN_LOGDEST_DBG=stderr gives cuDNN's reason for a refusal.
#include <dlfcn.h>

#include <cstdio>

#include "tensor/cuda/cudnn_attention_graphs.h"

using namespace switchyard;
using namespace switchyard::cuda;

namespace {

constexpr const char* kH200 =
    R"({"maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64],
"regsPerBlock":65536,"multiProcessorCount":132,"warpSize":32,"maxSharedMemoryPerBlock":49152,
"maxSharedMemoryPerBlockOptin":232448,"reservedSharedMemoryPerBlock":1024,"maxRegistersPerSM":65536,
"maxCtasPerSM":32,"maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,"pciDeviceId":9013,"isTccDriver":0,
"supportCoopLaunch":1,"smClockRateKHz":1980000,"memClockRateKHz":3201000,"l2CacheSize":62914560,
"deviceName":"NVIDIA H200","deviceVer":900,"driverVer":13000,"cudaDeviceId":0,"totalGlobalMem":150754820096})";

int failures = 0;

enum class Expect { Taken, Refused };

void judge(const std::string& name, const AttentionShape& shape, int direction,
           const CudnnTarget& h200, Expect expect = Expect::Taken) {
  bool taken = false;
  std::string why;
  try {
    const CudnnPlan plan(direction == 0 ? attention_forward_graph(shape)
                                        : attention_backward_graph(shape, direction == 2),
                         h200);
    taken = true;
  } catch (const CudnnError& error) {
    taken = error.status == CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER;
    if (!taken) why = error.what();
  }
  const bool right = taken == (expect == Expect::Taken);
  if (!right) ++failures;
  std::printf("%-58s %s%s %s\n", name.c_str(),
              right ? "" : "WRONG: ", taken ? "compiled" : "refused", right ? "" : why.c_str());
}

}  // namespace

int main() {
  if (!dlopen("libcuda.so.1", RTLD_LAZY)) {
    std::puts("skipped: no libcuda.so.1");
    return 77;
  }
  std::printf("cuDNN %zu, graphs for an H200\n", cudnnGetVersion());
  const CudnnTarget h200 = described_device(kH200);
  const char* directions[] = {"forward", "backward", "deterministic backward"};
  const auto name_of = [&](const char* mask, const AttentionShape& s, int direction) {
    return concat(mask, " ", directions[direction], ", D=", s.head_width, " Tq=", s.time_q,
                  " Tk=", s.time_k);
  };
  for (int direction : {0, 1, 2})
    for (int64_t D : {64, 128}) {
      const AttentionShape plain = {4, 12, 1024, 1024, D, false, false, 0.125f};
      AttentionShape causal = plain, padded = plain, both = plain;
      causal.causal = both.causal = padded.padded = both.padded = true;
      judge(name_of("plain", plain, direction), plain, direction, h200);
      judge(name_of("causal", causal, direction), causal, direction, h200);
      judge(name_of("padded", padded, direction), padded, direction, h200);
      judge(name_of("causal padded", both, direction), both, direction, h200);
    }
  for (int direction :
       {0, 1, 2}) {  // lengths that are no multiple of a tile, and attention to another sequence
    const AttentionShape odd = {3, 8, 77, 77, 64, true, true, 0.125f},
                         cross = {3, 8, 77, 130, 64, false, true, 0.125f};
    judge(name_of("causal padded", odd, direction), odd, direction, h200);
    judge(name_of("padded", cross, direction), cross, direction, h200);
  }
  const AttentionShape narrow = {4,  12,   1024,  1024,
                                 20, true, false, 0.125f};  // does this test see a refusal?
  judge(name_of("causal", narrow, 0), narrow, 0, h200, Expect::Refused);
  return failures == 0 ? 0 : 1;
}
