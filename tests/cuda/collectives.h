// All collectives on tensors of the GPU against those on the host: the same bits, whichever way the bytes go.
// Throws where they differ.
#pragma once
#include <algorithm>
#include <numeric>

#include "dist/runtime.h"
#include "tensor/kernels.h"

namespace switchyard {

// What the banner says when thread ranks use the GPUs of this machine, emulated or real
inline std::string way_of(int ranks) {
  const int gpus = std::min(ranks, cuda::device_count());
  if (ranks == 1) return "none, one rank";
  if (gpus == ranks) return "NCCL, one GPU a rank";
  return concat("device copies; ", ranks, " ranks on ", gpus, gpus == 1 ? " GPU" : " GPUs");
}

class CollectivesOnGpu {
 public:
  explicit CollectivesOnGpu(const dist::Runtime& runtime)
      : comm_(runtime.world), ranks_(comm_.size()), me_(comm_.rank()) {}

  void compare(int64_t n) const {  // rows
    const dist::Comm& comm = comm_;
    both({n, 3}, [&](Tensor t) { return comm.all_reduce(t), t; });
    both({n, 3}, [&](Tensor t) { return comm.broadcast(t, ranks_ - 1), t; });
    both({n, 3}, [&](Tensor t) { return comm.all_reduce(t, dist::Reduce::Max), t; });
    both({n, 3}, [&](const Tensor& t) { return comm.all_gather(t); });
    both({n * ranks_, 3}, [&](const Tensor& t) { return comm.reduce_scatter(t); });
    exchange(n);
  }

  void exchange(int64_t n) const {
    const dist::Comm& comm = comm_;
    // From a to b: (a + 2 b) % 3 * n rows, none at all from some to others
    std::vector<int64_t> send(ranks_), receive(ranks_);
    for (int m = 0; m < ranks_; ++m) {
      send[m] = (me_ + 2 * m) % 3 * n;
      receive[m] = (m + 2 * me_) % 3 * n;
    }
    const int64_t rows = std::accumulate(send.begin(), send.end(), int64_t{0});
    for (auto mode : {dist::ExchangeMode::Rows, dist::ExchangeMode::Padded})
      if (mode == dist::ExchangeMode::Rows || n < 100)
        both({rows, 5},
             [&](const Tensor& t) { return comm.all_to_all_v(t, send, receive, mode, 2 * n); });
    // Two under way at once, and work beside them on the memory that they do not use
    both({rows, 5}, [&](const Tensor& t) {
      Tensor twice = empty_like(t), beside = empty_like(t);
      scale(2, t, twice);
      dist::Arriving a = comm.all_to_all_v_start(t, send, receive);
      dist::Arriving b = comm.all_to_all_v_start(twice, send, receive);
      scale(3, t, beside);
      twice = beside = {};
      const Tensor first = a.finish(), second = b.finish();
      Tensor sum = empty_like(first);
      add(first, second, sum);
      return sum;
    });
  }

 private:
  template <class F>
  void both(Shape shape, const F& collective) const {
    Tensor t = Tensor::empty(std::move(shape));
    random_normal(random_stream(3, "collectives", 0, 0, me_), 0, 1, t);
    const Tensor gpu = collective(t.to(Device::CUDA)), host = collective(t.clone());
    check(gpu.device() == Device::CUDA && gpu.shape() == host.shape() &&
              gpu.to_vector<float>() == host.to_vector<float>(),
          "a collective on the GPU differs from the host's");
  }
  dist::Comm comm_;
  int ranks_, me_;
};

}  // namespace switchyard
