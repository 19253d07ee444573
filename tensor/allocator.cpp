// The caching allocator. Each rank thread has one; a block's deleter holds its allocator as well, so
// blocks outlive the thread that made them. Sizes are rounded to eighths of a power of two.
#include "tensor/allocator.h"

#include <malloc.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <map>
#include <mutex>
#include <tuple>

#include "tensor/check.h"

namespace switchyard {
namespace {

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

std::byte* system_allocate(int64_t bytes) {
  constexpr int64_t huge_page = int64_t(2) << 20;
  const bool big = bytes >= 2 * huge_page;
  const int64_t alignment = big ? huge_page : 64;
  void* p = std::aligned_alloc(alignment, round_up(bytes, alignment));
  if (p && big) madvise(p, bytes, MADV_HUGEPAGE);  // advice only: a refusal changes nothing
  return static_cast<std::byte*>(p);
}

struct Allocator {
  std::mutex mutex;  // blocks may be freed on other threads
  AllocatorStats stats;
  std::multimap<int64_t, std::byte*> cached;  // by size

  ~Allocator() { release_cached(); }
  void release_cached() {
    for (const auto& [bytes, block] : cached) std::free(block);
    cached.clear();
    stats.reserved_bytes = stats.live_bytes;
  }
  // The block's true size is returned in bytes.
  std::byte* take(int64_t& bytes) {
    const std::lock_guard lock(mutex);
    // A somewhat larger cached block will do: changing shapes must not fill the cache with every size.
    const auto found = cached.lower_bound(bytes);
    std::byte* block = nullptr;
    if (found != cached.end() && found->first <= bytes + bytes / 2) {
      std::tie(bytes, block) = *found;
      cached.erase(found);
    } else {
      block = system_allocate(bytes);
      if (!block) {
        release_cached();
        block = system_allocate(bytes);
      }
      if (!block)
        throw Error(concat("out of memory: asked for ", bytes, " bytes, ", stats.live_bytes,
                           " are in use by this rank"));
      stats.reserved_bytes += bytes;
    }
    stats.live_bytes += bytes;
    stats.peak_bytes = std::max(stats.peak_bytes, stats.live_bytes);
    return block;
  }
  void give_back(std::byte* block, int64_t bytes) {
    const std::lock_guard lock(mutex);
    stats.live_bytes -= bytes;
    cached.emplace_hint(cached.lower_bound(bytes), bytes, block);  // the next of its size to go
    // Sizes that nobody asks for again pile up where shapes only grow, as in decoding.
    if (stats.reserved_bytes - stats.live_bytes > 2 * stats.peak_bytes) release_cached();
  }
};

const std::shared_ptr<Allocator>& own_allocator() {
  thread_local const auto allocator = std::make_shared<Allocator>();
  return allocator;
}

}  // namespace

std::shared_ptr<std::byte> allocate(int64_t bytes) {
  check(bytes >= 0, "allocate: negative size");
  bytes = round_up(std::max<int64_t>(bytes, 1),
                   std::max<int64_t>(std::bit_floor(uint64_t(bytes)) / 8, 64));
  const auto& allocator = own_allocator();
  std::byte* block = allocator->take(bytes);
  return {block, [allocator, bytes](std::byte* p) { allocator->give_back(p, bytes); }};
}

AllocatorStats allocator_stats() {
  const std::lock_guard lock(own_allocator()->mutex);
  return own_allocator()->stats;
}
void release_cached() {
  const std::lock_guard lock(own_allocator()->mutex);
  own_allocator()->release_cached();
#if !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)  // there malloc is not the C library's
  malloc_trim(0);
#endif
}
void reset_peak() {
  const std::lock_guard lock(own_allocator()->mutex);
  own_allocator()->stats.peak_bytes = own_allocator()->stats.live_bytes;
}

}  // namespace switchyard
