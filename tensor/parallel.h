// The threads of a rank: the only place that uses OpenMP. A rank thread says once how many threads it
// may use; parallel_for cuts [0, n) into contiguous chunks, one for each thread. Kernels compute every
// output element on one thread in a fixed order, so the number of threads never changes a bit.
#pragma once
#include <cstdint>
#include <functional>

namespace switchyard {

void set_num_threads(int threads);  // of the calling rank thread; at least 1
int num_threads();
void set_float_mode();  // flush denormals to zero (FTZ, DAZ) on the calling thread

// fn(begin, end) on disjoint chunks; at least `grain` >= 1 items each. Exceptions are rethrown here.
void parallel_for(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& fn);

}  // namespace switchyard
