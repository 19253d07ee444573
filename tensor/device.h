// The GPU as the rest of the engine sees it: is there one, memory on it, copies to and from it, messages between
// GPUs. Everything else happens inside kernels. A binary without CUDA has the same functions and counts 0 devices.
// Each rank thread has its own GPU (or its share of one), streams and allocator.
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

// --- the computation and the host ---
// Called again and again while the calling rank thread waits for its GPU; throws to give up. A wait of more than
// `patience` seconds ends with an error, too.
void set_watch(std::function<void()> watch, double patience = 1800);

// Either side may be on the host, which may use its side at once; a copy to the host waits for the GPU, one to the GPU only while others
// before it fill the pinned memory.
struct Transfer {
  const std::byte* from;
  std::byte* to;
  int64_t bytes;
};
void copy_to_host(const std::vector<Transfer>& transfers);
void copy(const std::byte* from, Device from_device, std::byte* to, Device to_device,
          int64_t bytes);
void synchronize();  // until everything that the calling rank thread has started is done
int64_t waits();     // how often the calling rank thread has waited for its GPU

// --- messages ---
// They run on a second stream of the rank, the communication stream, beside the computation. Events order the two.
using Event = std::shared_ptr<void>;     // a moment in the work of a stream
Event computed();                        // what the computation has been given up to now
Event communicated();                    // likewise the communication stream
void compute_after(const Event& event);  // from now on
void communicate_after(const Event& event);
bool done(const Event& event);
// On the communication stream: between GPUs, or to or from pinned memory
void copy_message(const std::byte* from, std::byte* to, int64_t bytes);
std::shared_ptr<std::byte> allocate_pinned(int64_t bytes);
// Lets the other GPUs at hand copy from the calling rank's; false: the machine cannot
bool open_to(const std::vector<int>& devices);

// The ways between the GPUs of the members of a group
class PeerLink {
 public:
  struct Part {
    std::byte* data;
    int64_t bytes;  // none: no message; both sides must say so
  };
  virtual ~PeerLink() = default;
  // send[m] goes to member m, receive[m] comes from it; all members call it, the own message included. Starts
  // after what has been computed so far, on the communication stream; the memory must last until the event.
  virtual Event exchange(const std::vector<Part>& send, const std::vector<Part>& receive) = 0;
  // t = the sum of all members', in an order of the library's own. By NCCL only.
  virtual Event sum(const Tensor& t) {
    throw Error(concat("no sum of ", t.numel(), " numbers over GPUs without NCCL"));
  }
};
int device_index();         // of the calling rank thread
std::string device_id();    // unique on the machine
std::string new_link_id();  // by one member, for all; "" when built without NCCL
// By NCCL: every member has a GPU of its own
std::unique_ptr<PeerLink> connect_peers(const std::string& id, int member, int size);

}  // namespace switchyard::cuda

namespace switchyard {

// Copies on the host of tensors of any devices, with one wait for all of them
std::vector<Tensor> to_host(const std::vector<Tensor>& tensors);

inline void synchronize(Device device) {  // until the calling rank thread's work there is done
  if (device == Device::CUDA) cuda::synchronize();
}
inline std::string device_name(Device device) {  // for people
  return device == Device::CPU ? "CPU" : cuda::device_name();
}
inline AllocatorStats memory_stats(Device device) {  // of the calling rank thread
  return device == Device::CPU ? allocator_stats() : cuda::allocator_stats();
}

}  // namespace switchyard
