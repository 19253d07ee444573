// Threads by OpenMP, in static chunks. Workers take over the caller's float mode, so that a value does
// not depend on the thread that computed it.
#include "tensor/parallel.h"

#include <immintrin.h>
#include <omp.h>

#include <algorithm>
#include <exception>
#include <vector>

#include "tensor/check.h"

namespace switchyard {
namespace {
thread_local int own_threads = 1;
}

void set_num_threads(int threads) {
  check(threads >= 1, concat("a rank needs at least 1 thread, got ", threads));
  own_threads = threads;
}
int num_threads() { return own_threads; }

void set_float_mode() { _mm_setcsr(_mm_getcsr() | 0x8040); }  // FTZ, DAZ

void parallel_for(int64_t n, int64_t grain, const std::function<void(int64_t, int64_t)>& fn) {
  if (n <= 0) return;
  int threads = int(std::clamp<int64_t>(n / grain, 1, own_threads));
#ifdef __SANITIZE_THREAD__
  threads = 1;  // libgomp is not instrumented: its barriers would be reported as races
#endif
  if (threads == 1 || omp_in_parallel()) return fn(0, n);
  std::vector<std::exception_ptr> errors(threads);
  const unsigned mode = _mm_getcsr();
#pragma omp parallel num_threads(threads)
  {
    _mm_setcsr(mode);
    // The team may be smaller than asked for: the chunks are dealt round.
    for (int t = omp_get_thread_num(); t < threads; t += omp_get_num_threads()) {
      try {
        fn(n * t / threads, n * (t + 1) / threads);
      } catch (...) {
        errors[t] = std::current_exception();
      }
    }
  }
  for (const auto& e : errors)
    if (e) std::rethrow_exception(e);
}

}  // namespace switchyard
