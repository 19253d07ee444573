// Speed of every class of kernels on the GPU, as GB/s or TFLOP/s and as a share of what the machine can do.
//   bench_gpu [--dry] [--only PART] [--no-ceilings]
// --dry: tiny sizes on the CPU twins, once each: shows that the table can be made. PART: cases whose name has it.
// exit code: 1 when a case failed.
#include <cstdio>
#include <iostream>

#include "bench/gpu_cases.h"
#include "bench/main.h"

namespace switchyard::bench {
namespace {

int run(int argc, char** argv) {
  bool dry = false, ceilings = true;
  std::string only;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--dry") dry = true;
    else if (word == "--no-ceilings") ceilings = false;
    else if (word == "--only" && i + 1 < argc) only = argv[++i];
    else throw UserError("usage: bench_gpu [--dry] [--only PART] [--no-ceilings]");
  }
  const Device device = dry ? Device::CPU : Device::CUDA;
  std::cout << "device: " << device_name(device) << std::endl;
  Ceilings best;
  if (!dry && ceilings) {
    best = measure_ceilings();
    std::printf("ceilings: copy %.0f GB/s, bf16 product %.0f TFLOP/s, f32 product %.1f TFLOP/s\n",
                best.copy / 1e9, best.bf16 / 1e12, best.f32 / 1e12);
  }
  Bench b(device, dry);
  add_cases(b);
  const int64_t cache = dry ? 0 : l2_bytes();
  int failures = 0;
  std::printf("%-62s %10s %16s %10s\n", "kernel", "us", "rate", "of ceiling");
  for (const Case& c : b.cases) {
    if (c.name.find(only) == std::string::npos) continue;
    std::printf("%-62s ", c.name.c_str());
    try {
      std::vector<Call> sets;
      const int64_t count = std::clamp<int64_t>(2 * cache / c.bytes + 1, dry ? 1 : 2, 16);
      for (int64_t i = 0; i < count; ++i) sets.push_back(c.make());
      const double seconds = median_seconds(sets, device, dry ? 1 : 10, dry ? 1 : 50),
                   rate = c.work / seconds;
      const double ceiling = c.bound == Bound::Copy   ? best.copy
                             : c.bound == Bound::Bf16 ? best.bf16
                                                      : best.f32;
      std::printf("%10.1f %9.1f %-6s ", seconds * 1e6, rate / (c.bound == Bound::Copy ? 1e9 : 1e12),
                  c.bound == Bound::Copy ? "GB/s" : "TFLOP/s");
      std::puts(ceiling > 0 ? concat(int(100 * rate / ceiling + 0.5), " %").c_str() : "-");
    } catch (const Error& error) {
      ++failures;
      std::printf("FAILED: %s\n", error.what());
    }
    std::fflush(stdout);
  }
  return failures > 0;
}

}  // namespace
}  // namespace switchyard::bench

int main(int argc, char** argv) {
  return switchyard::bench::guarded(switchyard::bench::run, argc, argv);
}
