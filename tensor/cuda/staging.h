// Pinned memory for the copies between the host and the GPU of a rank: only from there does a copy run beside the
// host. Read before: context.h.
#pragma once
#include <array>

#include "tensor/device.h"

namespace switchyard::cuda {

// Memory handed out in order. A piece is used again when all copies that used it are done.
class PinnedRing {
 public:
  static constexpr int64_t kPiece = 8 << 20;  // bytes
  std::byte* take(int64_t bytes);             // at most a piece

 private:
  static constexpr int64_t kPieces = 2;
  std::shared_ptr<std::byte> memory_ = allocate_pinned(kPieces * kPiece);
  std::array<Event, kPieces> copied_;
  int64_t at_ = 0, used_ = 0;
};

PinnedRing& pinned_ring();  // of the calling rank thread

}  // namespace switchyard::cuda
