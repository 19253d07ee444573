// The CUDA side of a binary that is built without CUDA: no devices, and every kernel says so.
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include "tensor/device.h"

namespace switchyard::cuda {
namespace {
[[noreturn]] void absent() { throw Error("this binary was built without CUDA"); }
}  // namespace

std::string version() { return "no"; }
int device_count() { return 0; }
void use_device(int) { absent(); }
std::string device_name() { absent(); }
std::shared_ptr<std::byte> allocate(int64_t) { absent(); }
AllocatorStats allocator_stats() { return {}; }
void set_watch(std::function<void()>, double) {}
void copy_to_host(const std::vector<Transfer>&) { absent(); }
void copy(const std::byte*, Device, std::byte*, Device, int64_t) { absent(); }
void synchronize() {}
int64_t waits() { return 0; }
Event computed() { absent(); }
Event communicated() { absent(); }
void compute_after(const Event&) { absent(); }
void communicate_after(const Event&) { absent(); }
bool done(const Event&) { absent(); }
void copy_message(const std::byte*, std::byte*, int64_t) { absent(); }
std::shared_ptr<std::byte> allocate_pinned(int64_t) { absent(); }
bool open_to(const std::vector<int>&) { absent(); }
int device_index() { absent(); }
std::string device_id() { absent(); }
std::string new_link_id() { return ""; }
std::unique_ptr<PeerLink> connect_peers(const std::string&, int, int) { absent(); }

}  // namespace switchyard::cuda

// The list of kernels.h, each a stub of its cuda twin
#define KERNEL(name, ...)              \
  namespace cuda {                     \
  void name(__VA_ARGS__) { absent(); } \
  }
#include "tensor/kernels.h"

// What only a GPU has
#include "tensor/attention.h"
namespace switchyard::cuda {
bool attention_is_fused(const Tensor&, const Tensor&, const Tensor&, const AttentionSpec&) {
  absent();
}
}  // namespace switchyard::cuda
