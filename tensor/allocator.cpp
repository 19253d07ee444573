// The caching allocator. Each rank thread has one; a block's deleter holds its allocator as well, so
// blocks outlive the thread that made them. Sizes are rounded to eighths of a power of two.
#include "tensor/allocator.h"

#include <sys/mman.h>

#include <bit>
#include <cstdlib>
#include <map>
#include <mutex>
#include <vector>

#include "tensor/check.h"

namespace switchyard {
namespace {

constexpr int64_t kHugePage = int64_t(2) << 20;

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

int64_t size_class(int64_t bytes) {
  if (bytes <= 512) return round_up(bytes > 0 ? bytes : 1, 64);
  return round_up(bytes, int64_t(std::bit_floor(uint64_t(bytes))) / 8);
}

std::byte* system_allocate(int64_t bytes) {
  const bool big = bytes >= 2 * kHugePage;
  const int64_t alignment = big ? kHugePage : 64;
  void* p = std::aligned_alloc(alignment, round_up(bytes, alignment));
  if (p && big) madvise(p, bytes, MADV_HUGEPAGE);  // advice only: a refusal changes nothing
  return static_cast<std::byte*>(p);
}

class Allocator {
 public:
  ~Allocator() { release_cached(); }

  // The block's true size is returned in bytes.
  std::byte* take(int64_t& bytes) {
    std::lock_guard lock(mutex_);
    bytes = size_class(bytes);
    // A somewhat larger cached block will do: changing shapes must not fill the cache with every size.
    auto it = cached_.lower_bound(bytes);
    std::byte* block = nullptr;
    if (it != cached_.end() && it->first <= bytes + bytes / 2) {
      bytes = it->first;
      block = it->second.back();
      it->second.pop_back();
      if (it->second.empty()) cached_.erase(it);
    } else {
      block = system_allocate(bytes);
      if (!block) {
        free_cached();
        block = system_allocate(bytes);
      }
      if (!block)
        throw Error(concat("out of memory: asked for ", bytes, " bytes, ", stats_.live_bytes,
                           " are in use by this rank"));
      stats_.reserved_bytes += bytes;
    }
    stats_.live_bytes += bytes;
    if (stats_.live_bytes > stats_.peak_bytes) stats_.peak_bytes = stats_.live_bytes;
    return block;
  }
  void give_back(std::byte* block, int64_t bytes) {
    std::lock_guard lock(mutex_);
    stats_.live_bytes -= bytes;
    cached_[bytes].push_back(block);
  }
  void release_cached() {
    std::lock_guard lock(mutex_);
    free_cached();
  }
  AllocatorStats stats() {
    std::lock_guard lock(mutex_);
    return stats_;
  }
  void reset_peak() {
    std::lock_guard lock(mutex_);
    stats_.peak_bytes = stats_.live_bytes;
  }

 private:
  void free_cached() {
    for (auto& [bytes, blocks] : cached_) {
      stats_.reserved_bytes -= bytes * int64_t(blocks.size());
      for (std::byte* b : blocks) std::free(b);
    }
    cached_.clear();
  }

  std::mutex mutex_;  // blocks may be freed on other threads
  AllocatorStats stats_;
  std::map<int64_t, std::vector<std::byte*>> cached_;
};

const std::shared_ptr<Allocator>& own_allocator() {
  thread_local const auto allocator = std::make_shared<Allocator>();
  return allocator;
}

}  // namespace

std::shared_ptr<std::byte> allocate(int64_t bytes) {
  check(bytes >= 0, "allocate: negative size");
  const auto& allocator = own_allocator();
  std::byte* block = allocator->take(bytes);
  return {block, [allocator, bytes](std::byte* p) { allocator->give_back(p, bytes); }};
}

AllocatorStats allocator_stats() { return own_allocator()->stats(); }
void reset_peak() { own_allocator()->reset_peak(); }
void release_cached() { own_allocator()->release_cached(); }

}  // namespace switchyard
