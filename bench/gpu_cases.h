// The cases of bench_gpu: name, work, and how a set of arguments is made. Read before: gpu_timing.h.
#pragma once
#include <cstring>

#include "bench/gpu_timing.h"
#include "tensor/device.h"
#include "tensor/kernels.h"

namespace switchyard::bench {

using Call = std::function<void()>;

// What bounds a kernel, and so the ceiling that it is measured against
enum class Bound { Copy, Bf16, F32 };

struct Case {
  std::string name;
  Bound bound;
  double work;                 // bytes or FLOP of a call
  int64_t bytes;               // that a set of arguments holds
  std::function<Call()> make;  // a fresh set of arguments
};

// Sizes of the cases, and random numbers on the device.
class Bench {
 public:
  Bench(Device device, bool dry) : device(device), dry(dry) {
    Tensor host = Tensor::empty({dry ? 1 << 14 : 1 << 26});
    cpu::random_normal(random_stream(1, "bench"), 0, 1.0, host);
    pool_ = host.to(device);
  }
  Tensor space(Shape shape, DType dtype = DType::F32) const {
    return Tensor::empty(std::move(shape), dtype, device);
  }
  // Standard normal; of different places of the pool each time
  Tensor normal(Shape shape, DType dtype = DType::F32) {
    const Tensor t = space(std::move(shape));
    for (int64_t done = 0; done < t.numel();) {
      at_ = (at_ + 7919 * 64) % pool_.numel();
      const int64_t n = std::min(t.numel() - done, pool_.numel() - at_);
      cuda_or_cpu_copy(pool_.raw() + 4 * at_, t.raw() + 4 * done, 4 * n);
      done += n;
    }
    return t.to(dtype);
  }
  Tensor ints(const std::function<int64_t(int64_t)>& value, int64_t n) const {
    std::vector<int64_t> values(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) values[size_t(i)] = value(i);
    return Tensor::of(values).to(device);
  }
  static Tensor even_offsets(int64_t groups, int64_t rows) {  // on the host
    std::vector<int64_t> offsets;
    for (int64_t g = 0; g <= groups; ++g) offsets.push_back(g * rows);
    return Tensor::of(offsets);
  }

  // One set of arguments is made by `make` at each use; work in bytes.
  void memory(std::string name, double bytes, std::function<Call()> make) {
    cases.push_back({std::move(name), Bound::Copy, bytes, int64_t(bytes), std::move(make)});
  }
  void arithmetic(std::string name, DType dtype, double flops, double bytes,
                  std::function<Call()> make) {
    cases.push_back({std::move(name), dtype == DType::BF16 ? Bound::Bf16 : Bound::F32, flops,
                     int64_t(bytes), std::move(make)});
  }

  const Device device;
  const bool dry;
  std::vector<Case> cases;

 private:
  void cuda_or_cpu_copy(const std::byte* from, std::byte* to, int64_t bytes) const {
    if (device == Device::CPU) std::memcpy(to, from, size_t(bytes));
    else cuda::copy(from, device, to, device, bytes);
  }
  Tensor pool_;
  int64_t at_ = 0;
};

void add_cases(Bench& b);

}  // namespace switchyard::bench
