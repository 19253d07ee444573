// Caching allocator, one per rank thread: freed blocks are kept by size class and handed out again,
// so that a training step of constant shapes asks the system for nothing.
// Blocks are 64-byte aligned; big ones are advised to use huge pages.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

namespace switchyard {

struct AllocatorStats {
  int64_t live_bytes = 0;      // handed out now
  int64_t peak_bytes = 0;      // largest live_bytes since the last reset_peak()
  int64_t reserved_bytes = 0;  // taken from the system: live + cached
};

// Memory from the calling thread's allocator; may be freed on any thread. 0 bytes gives a valid pointer.
std::shared_ptr<std::byte> allocate(int64_t bytes);

AllocatorStats allocator_stats();  // of the calling thread's allocator
void reset_peak();                 // peak_bytes = live_bytes
void release_cached();             // to the system, for when other shapes come

}  // namespace switchyard
