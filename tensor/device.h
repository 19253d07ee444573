// The GPU as the rest of the engine sees it: is there one, memory on it, copies to and from it. Everything
// else happens inside kernels. A binary without CUDA has the same functions and counts 0 devices.
// Each rank thread has its own GPU (or its share of one), stream and allocator.
#pragma once
#include <functional>

#include "tensor/allocator.h"
#include "tensor/tensor.h"

namespace switchyard::cuda {

std::string version();       // "CUDA 13.0, cuBLASLt ...", or "no"
int device_count();          // 0: no GPU, no driver, or built without CUDA
void use_device(int index);  // of the calling rank thread, before its first CUDA tensor
std::string device_name();   // of the calling rank thread's device, for the banner

std::shared_ptr<std::byte> allocate(int64_t bytes);
AllocatorStats allocator_stats();  // of the calling rank thread

// Messages between the GPUs of ranks that have one each, without the host. In the order of the rank's stream.
class PeerLink {
 public:
  struct Part {
    std::byte* data;
    int64_t bytes;  // none: no message; both sides must say so
  };
  virtual ~PeerLink() = default;
  // send[m] goes to member m, receive[m] comes from it; all members call it, the own message included
  virtual void exchange(const std::vector<Part>& send, const std::vector<Part>& receive) = 0;
};
std::string device_id();    // of the calling rank thread, unique on the machine
std::string new_link_id();  // by one member, for all; "" when built without NCCL
std::unique_ptr<PeerLink> connect_peers(const std::string& id, int member, int size);

// Called again and again while the calling rank thread waits for its GPU; throws to give up.
void set_watch(std::function<void()> watch);

// Either side may be on the host; the host side is complete when it returns.
void copy(const std::byte* from, Device from_device, std::byte* to, Device to_device,
          int64_t bytes);
void synchronize();  // until everything that the calling rank thread has started is done

}  // namespace switchyard::cuda

namespace switchyard {

inline std::string device_name(Device device) {  // for people
  return device == Device::CPU ? "CPU" : cuda::device_name();
}
inline AllocatorStats memory_stats(Device device) {  // of the calling rank thread
  return device == Device::CPU ? allocator_stats() : cuda::allocator_stats();
}

}  // namespace switchyard
