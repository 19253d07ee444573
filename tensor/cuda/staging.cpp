// Copies between the host and the GPU through pinned memory: only from there does a copy run beside the host.
// Read before: staging.h.
#include "tensor/cuda/staging.h"

#include <algorithm>
#include <cstring>

#include "tensor/cuda/context.h"

namespace switchyard::cuda {
namespace {

constexpr int64_t kPiece = PinnedRing::kPiece;

void start_copy(const std::byte* from, std::byte* to, int64_t bytes) {
  CUDA_CHECK(cudaMemcpyAsync(to, from, size_t(bytes), cudaMemcpyDefault, stream()));
}

void copy_from_host(const std::byte* from, std::byte* to, int64_t bytes) {
  for (int64_t at = 0; at < bytes; at += kPiece) {
    const int64_t size = std::min(kPiece, bytes - at);
    std::byte* staged = pinned_ring().take(size);
    std::memcpy(staged, from + at, size_t(size));
    start_copy(staged, to + at, size);
  }
}

// Copies to the host that share a piece
struct Batch {
  std::vector<Transfer> parts;
  int64_t bytes = 0;
  std::byte* staged = nullptr;
  Event event = {};

  void start() {
    staged = pinned_ring().take(bytes);
    std::byte* at = staged;
    for (const Transfer& t : parts) {
      start_copy(t.from, at, t.bytes);
      at += t.bytes;
    }
    event = computed();
  }
  void finish() const {
    wait_for(event);
    const std::byte* at = staged;
    for (const Transfer& t : parts) {
      std::memcpy(t.to, at, size_t(t.bytes));
      at += t.bytes;
    }
  }
};

}  // namespace

std::byte* PinnedRing::take(int64_t bytes) {
  if (used_ + bytes > kPiece) {
    copied_[at_] = computed();
    at_ = (at_ + 1) % kPieces;
    used_ = 0;
    if (const Event& last = copied_[at_]; last && !done(last)) wait_for(last);
  }
  std::byte* p = memory_.get() + at_ * kPiece + used_;
  used_ += ceil_div(bytes, 64) * 64;
  return p;
}

std::shared_ptr<std::byte> allocate_pinned(int64_t bytes) {
  void* p = nullptr;
  CUDA_CHECK(cudaMallocHost(&p, size_t(bytes)));
  return {static_cast<std::byte*>(p), [](std::byte* memory) { cudaFreeHost(memory); }};
}

// A batch is on its way while the one before it is taken out of its piece.
void copy_to_host(const std::vector<Transfer>& transfers) {
  std::vector<Batch> batches(1);
  for (const Transfer& t : transfers)
    for (int64_t at = 0; at < t.bytes;) {
      if (batches.back().bytes == kPiece) batches.emplace_back();
      Batch& batch = batches.back();
      const int64_t size = std::min(kPiece - batch.bytes, t.bytes - at);
      batch.parts.push_back({t.from + at, t.to + at, size});
      batch.bytes += size;
      at += size;
    }
  if (batches[0].bytes == 0) return;
  batches[0].start();
  for (size_t i = 0; i < batches.size(); ++i) {
    if (i + 1 < batches.size()) batches[i + 1].start();
    batches[i].finish();
  }
}

void copy(const std::byte* from, Device from_device, std::byte* to, Device to_device,
          int64_t bytes) {
  if (bytes == 0) return;
  if (from_device == Device::CPU) copy_from_host(from, to, bytes);
  else if (to_device == Device::CPU) copy_to_host({{from, to, bytes}});
  else start_copy(from, to, bytes);
}

void copy_message(const std::byte* from, std::byte* to, int64_t bytes) {
  CUDA_CHECK(cudaMemcpyAsync(to, from, size_t(bytes), cudaMemcpyDefault, communication_stream()));
}

}  // namespace switchyard::cuda
