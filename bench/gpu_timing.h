// Timing on a GPU, and the rates of the machine that kernels are measured against.
#pragma once
#include <functional>
#include <vector>

#include "tensor/tensor.h"

namespace switchyard::bench {

// A machine's best: bytes read and written per second by a large copy, FLOP per second of a large product.
struct Ceilings {
  double copy = 0, bf16 = 0, f32 = 0;
};
Ceilings
measure_ceilings();  // of the GPU; 8 GB copied, 8192^3 products of random numbers by cuBLASLt

int64_t l2_bytes();  // of the GPU

// Median seconds of a call, over `runs` after `warm_ups`; calls take turns, so that together they need more
// memory than the caches hold. On the GPU by events, without a wait in between; on the CPU by the clock.
double median_seconds(const std::vector<std::function<void()>>& calls, Device device, int warm_ups,
                      int runs);

}  // namespace switchyard::bench
