// cuDNN in a few words: a graph of operations, a plan that an engine compiled for it, its execution.
// A graph knows no device. A plan is made for the device of a handle or, on a machine without a GPU, for one
// described in JSON, so that a test can ask which graphs cuDNN accepts. Read next: cudnn_attention_graphs.h.
#pragma once
#include <cudnn.h>

#include <cstdint>
#include <map>
#include <memory>
#include <source_location>
#include <string>
#include <vector>

#include "tensor/check.h"

#define CUDNN_CHECK(call) ::switchyard::cuda::check_cudnn((call), #call)

namespace switchyard::cuda {

// Names the call, the place and cuDNN's own word for it.
struct CudnnError : Error {
  CudnnError(cudnnStatus_t status, const std::string& message) : Error(message), status(status) {}
  cudnnStatus_t status;
};
void check_cudnn(cudnnStatus_t status, const char* call,
                 std::source_location at = std::source_location::current());

using Dims = std::vector<int64_t>;
using CudnnDescriptor = std::shared_ptr<void>;  // destroyed with its last holder

// For whom plans are made: the device of a handle, or a described one.
struct CudnnTarget {
  cudnnHandle_t handle = nullptr;
  CudnnDescriptor device;
};
CudnnTarget described_device(const std::string& json);  // keys: tests/cuda/probe/cudnn_probe.cpp

struct CudnnTensor {  // of a graph
  CudnnDescriptor descriptor;
  int64_t id = 0;
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  Dims dims, strides;
  explicit operator bool() const { return descriptor != nullptr; }
};
// Lengths of a batch's sequences that stand in for the sizes of a product [m, k] x [k, n]
struct CudnnSizes {
  CudnnTensor m, n, k;
};

class CudnnGraph {
 public:
  using Node = CudnnTensor;

  // A real tensor; its address is given at each execution under its id, 1 .. 99.
  Node tensor(int64_t id, cudnnDataType_t type, Dims dims, Dims strides);
  Node scalar(float value);  // fixed; part of the graph
  // Intermediate results never reach memory: only their shapes are declared.
  Node intermediate(cudnnDataType_t type, Dims dims, Dims strides);

  void matmul(const Node& a, const Node& b, const Node& y, const CudnnSizes& sizes = {});
  void reduce(cudnnReduceTensorOp_t kind, const Node& x, const Node& y);
  void reshape(const Node& x, const Node& y);  // a transposed view
  // y = mode(x, b), or b where t is false for BINARY_SELECT: x where t, else b
  void pointwise(cudnnPointwiseMode_t mode, const Node& x, const Node& b, const Node& y,
                 const Node& t = {});
  void index(int64_t axis, const Node& x,
             const Node& y);  // y = the index of each element along axis

 private:
  friend class CudnnPlan;
  Node declare(int64_t id, cudnnDataType_t type, Dims dims, Dims strides, bool real, bool by_value);
  void pointwise(cudnnPointwiseMode_t mode, cudnnDataType_t precision, const Node& x, const Node& b,
                 const Node& y, const Node& t, int64_t axis);

  int64_t next_id_ = 100;
  std::vector<CudnnDescriptor> operations_, parts_;  // parts: what the operations refer to
  std::map<int64_t, float> scalars_;
};

// The best engine that compiles the graph for the target. Throws CudnnError where there is none.
class CudnnPlan {
 public:
  CudnnPlan(CudnnGraph graph, const CudnnTarget& target);

  int64_t workspace_bytes() const { return workspace_bytes_; }
  void execute(cudnnHandle_t handle, const std::map<int64_t, void*>& tensors,
               void* workspace) const;

 private:
  CudnnGraph graph_;
  CudnnDescriptor whole_, device_, config_, plan_;
  int64_t workspace_bytes_ = 0;
};

}  // namespace switchyard::cuda
