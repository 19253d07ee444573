// Runs the graphs of cudnn_attention_graphs.h: a handle and compiled plans of each rank thread.
#include "tensor/cuda/cudnn_attention.h"

#include "tensor/cuda/context.h"
#include "tensor/cuda/cudnn_attention_graphs.h"

namespace switchyard::cuda {
namespace {

enum class Direction { Forward, Backward, BackwardDeterministic };

AttentionShape shape_of(const AttentionSpec& s, int64_t width, bool padded) {
  return {s.batch, s.heads, s.time_q, s.time_k, width / s.heads, s.causal, padded, float(s.scale)};
}

// What a rank keeps; made anew when its stream changes (use_device).
class Engine {
 public:
  explicit Engine(cudaStream_t stream) : stream(stream) {
    CUDNN_CHECK(cudnnCreate(&handle_));
    CUDNN_CHECK(cudnnSetStream(handle_, stream));
  }
  ~Engine() {
    plans_.clear();
    cudnnDestroy(handle_);
  }
  Engine(const Engine&) = delete;

  // nullptr: cuDNN does not take this shape
  const CudnnPlan* plan(const AttentionShape& shape, Direction direction) {
    auto [at, is_new] = plans_.try_emplace({shape, direction});
    if (is_new) try {
        CudnnGraph graph =
            direction == Direction::Forward
                ? attention_forward_graph(shape)
                : attention_backward_graph(shape, direction == Direction::BackwardDeterministic);
        at->second = std::make_unique<CudnnPlan>(std::move(graph), CudnnTarget{handle_, {}});
      } catch (const CudnnError& error) {
        if (error.status / 1000 != CUDNN_STATUS_NOT_SUPPORTED / 1000) throw;
      }
    return at->second.get();
  }
  void run(const AttentionShape& shape, Direction direction,
           const std::map<int64_t, void*>& tensors) {
    const CudnnPlan* p = plan(shape, direction);
    check(p != nullptr, "cuDNN does not take this attention: ask cudnn_attention_takes() first");
    const std::shared_ptr<std::byte> workspace = allocate(p->workspace_bytes());
    p->execute(handle_, tensors, workspace.get());
  }

  const cudaStream_t stream;

 private:
  cudnnHandle_t handle_ = nullptr;
  std::map<std::pair<AttentionShape, Direction>, std::unique_ptr<CudnnPlan>> plans_;
};

Engine& engine() {
  thread_local std::unique_ptr<Engine> own;
  if (!own || own->stream != stream()) own = std::make_unique<Engine>(stream());
  return *own;
}

void check_tensor(const char* name, const Tensor& t, DType dtype, int64_t numel) {
  if (t.device() != Device::CUDA || t.dtype() != dtype || t.numel() != numel)
    throw Error(concat("cudnn_attention: ", name, " must be ", name_of(dtype), " with ", numel,
                       " elements on the GPU, got ", name_of(t.dtype()), " ",
                       to_string(t.shape())));
}
void check_sizes(const AttentionSpec& s, int64_t width, const Tensor& q, const Tensor& k,
                 const Tensor& v, const Tensor& y, const Tensor& stats) {
  check_tensor("q", q, DType::BF16, s.batch * s.time_q * width);
  check_tensor("y", y, DType::BF16, s.batch * s.time_q * width);
  check_tensor("k", k, DType::BF16, s.batch * s.time_k * width);
  check_tensor("v", v, DType::BF16, s.batch * s.time_k * width);
  check_tensor("stats", stats, DType::F32, s.batch * s.heads * s.time_q);
}

// Padding is one of keys only: every query counts.
struct Lengths {
  Lengths(const Tensor& lengths, const AttentionSpec& s) {
    if (!lengths.defined()) return;
    k = on_device(lengths);
    check_tensor("lengths", k, DType::I32, s.batch);
    q = Tensor::full({s.batch}, double(s.time_q), DType::I32, Device::CUDA);
  }
  void add_to(std::map<int64_t, void*>& tensors) const {
    if (!k.defined()) return;
    tensors[kLengthQ] = q.raw();
    tensors[kLengthK] = k.raw();
  }
  Tensor q, k;
};

}  // namespace

bool cudnn_attention_available() {
  return cudnnGetVersion() >= 91600 && device_count() > 0 && compute_capability() >= 80;
}

bool cudnn_attention_takes(const AttentionSpec& s, int64_t width, bool padded, bool deterministic) {
  const int64_t D = s.heads > 0 ? width / s.heads : 0;
  if (s.dropout != 0 || (D != 64 && D != 128) || D * s.heads != width) return false;
  if (s.causal && s.time_q != s.time_k) return false;
  if (s.batch == 0 || s.time_q == 0 || s.time_k == 0 || !cudnn_attention_available()) return false;
  const AttentionShape shape = shape_of(s, width, padded);
  return engine().plan(shape, Direction::Forward) &&
         engine().plan(shape,
                       deterministic ? Direction::BackwardDeterministic : Direction::Backward);
}

void cudnn_attention_forward(const Tensor& q, const Tensor& k, const Tensor& v,
                             const Tensor& lengths, const AttentionSpec& s, Tensor& y,
                             Tensor& stats) {
  const int64_t width = q.dim(-1);
  check_sizes(s, width, q, k, v, y, stats);
  std::map<int64_t, void*> tensors = {{kQuery, q.raw()},
                                      {kKey, k.raw()},
                                      {kValue, v.raw()},
                                      {kOutput, y.raw()},
                                      {kStats, stats.raw()}};
  const Lengths given(lengths, s);
  given.add_to(tensors);
  engine().run(shape_of(s, width, lengths.defined()), Direction::Forward, tensors);
}

void cudnn_attention_backward(const Tensor& q, const Tensor& k, const Tensor& v,
                              const Tensor& lengths, const Tensor& y, const Tensor& stats,
                              const AttentionSpec& s, bool deterministic, const Tensor& dy,
                              Tensor& dq, Tensor& dk, Tensor& dv) {
  const int64_t width = q.dim(-1);
  check_sizes(s, width, q, k, v, y, stats);
  check_sizes(s, width, dq, dk, dv, dy, stats);
  const Tensor delta = empty_like(stats);
  std::map<int64_t, void*> tensors = {
      {kQuery, q.raw()},      {kKey, k.raw()},         {kValue, v.raw()},      {kOutput, y.raw()},
      {kStats, stats.raw()},  {kGradOutput, dy.raw()}, {kGradQuery, dq.raw()}, {kGradKey, dk.raw()},
      {kGradValue, dv.raw()}, {kDelta, delta.raw()}};
  const Lengths given(lengths, s);
  given.add_to(tensors);
  Tensor sum;
  if (!deterministic) {
    sum = Tensor::empty({q.numel()}, DType::F32, Device::CUDA);
    tensors[kQuerySum] = sum.raw();
  }
  engine().run(shape_of(s, width, lengths.defined()),
               deterministic ? Direction::BackwardDeterministic : Direction::Backward, tensors);
}

}  // namespace switchyard::cuda
