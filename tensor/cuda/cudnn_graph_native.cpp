// The backend interface behind cudnn_graph.h: descriptors get attributes, then are finalised.
#include "tensor/cuda/cudnn_graph.h"

#include <algorithm>

namespace switchyard::cuda {
namespace {

CudnnDescriptor make(cudnnBackendDescriptorType_t type) {
  cudnnBackendDescriptor_t d = nullptr;
  CUDNN_CHECK(cudnnBackendCreateDescriptor(type, &d));
  return {d, [](void* p) { cudnnBackendDestroyDescriptor(p); }};
}
void finish(const CudnnDescriptor& d, const char* what) {
  check_cudnn(cudnnBackendFinalize(d.get()), what);
}
template <class T>
void set(const CudnnDescriptor& d, cudnnBackendAttributeName_t name,
         cudnnBackendAttributeType_t type, const std::vector<T>& values) {
  CUDNN_CHECK(cudnnBackendSetAttribute(d.get(), name, type, int64_t(values.size()), values.data()));
}
void set_flag(const CudnnDescriptor& d, cudnnBackendAttributeName_t name, bool value) {
  CUDNN_CHECK(cudnnBackendSetAttribute(d.get(), name, CUDNN_TYPE_BOOLEAN, 1, &value));
}
void set_type(const CudnnDescriptor& d, cudnnBackendAttributeName_t name, cudnnDataType_t type) {
  set(d, name, CUDNN_TYPE_DATA_TYPE, std::vector{type});
}
void refer(const CudnnDescriptor& d, cudnnBackendAttributeName_t name, const CudnnDescriptor& to) {
  set(d, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, std::vector<cudnnBackendDescriptor_t>{to.get()});
}

// The engine configurations that the heuristics propose, best first
std::vector<CudnnDescriptor> proposals(const CudnnDescriptor& graph, const CudnnTarget& target) {
  const CudnnDescriptor heuristic = make(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  refer(heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  set(heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, std::vector{CUDNN_HEUR_MODE_A});
  if (target.device) refer(heuristic, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, target.device);
  finish(heuristic, "heuristics");
  std::vector<CudnnDescriptor> configs;
  std::vector<cudnnBackendDescriptor_t> raw;
  for (int i = 0; i < 8; ++i) {
    configs.push_back(make(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR));
    raw.push_back(configs.back().get());
  }
  int64_t found = 0;
  CUDNN_CHECK(cudnnBackendGetAttribute(heuristic.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                       CUDNN_TYPE_BACKEND_DESCRIPTOR, int64_t(raw.size()), &found,
                                       raw.data()));
  configs.resize(size_t(std::min<int64_t>(found, int64_t(raw.size()))));
  return configs;
}

}  // namespace

void check_cudnn(cudnnStatus_t status, const char* call, std::source_location at) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  char detail[512] = "";
  cudnnGetLastErrorString(detail, sizeof detail);
  throw CudnnError(status, concat("cuDNN: ", cudnnGetErrorString(status), " in ", call, " (",
                                  at.file_name(), ":", at.line(), ") ", detail));
}

CudnnTarget described_device(const std::string& json) {
  const CudnnDescriptor device = make(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  set(device, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
      std::vector<char>(json.begin(), json.end()));
  finish(device, "device description");
  return {nullptr, device};
}

// --- tensors --------------------------------------------------------------------------------------------
CudnnTensor CudnnGraph::declare(int64_t id, cudnnDataType_t type, Dims dims, Dims strides,
                                bool real, bool by_value) {
  const CudnnDescriptor d = make(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  set(d, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, Dims{id});
  set_type(d, CUDNN_ATTR_TENSOR_DATA_TYPE, type);
  set(d, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, dims);
  set(d, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, strides);
  set(d, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, Dims{16});
  set_flag(d, CUDNN_ATTR_TENSOR_IS_VIRTUAL, !real);
  set_flag(d, CUDNN_ATTR_TENSOR_IS_BY_VALUE, by_value);
  finish(d, "tensor");
  parts_.push_back(d);
  return {d, id, type, std::move(dims), std::move(strides)};
}

CudnnTensor CudnnGraph::tensor(int64_t id, cudnnDataType_t type, Dims dims, Dims strides) {
  return declare(id, type, std::move(dims), std::move(strides), true, false);
}
CudnnTensor CudnnGraph::scalar(float value) {
  scalars_[next_id_] = value;
  return declare(next_id_++, CUDNN_DATA_FLOAT, {1, 1, 1, 1}, {1, 1, 1, 1}, true, true);
}
CudnnTensor CudnnGraph::intermediate(cudnnDataType_t type, Dims dims, Dims strides) {
  return declare(next_id_++, type, std::move(dims), std::move(strides), false, false);
}

// --- operations -----------------------------------------------------------------------------------------
void CudnnGraph::matmul(const Node& a, const Node& b, const Node& y, const CudnnSizes& sizes) {
  const CudnnDescriptor how = make(CUDNN_BACKEND_MATMUL_DESCRIPTOR);
  set_type(how, CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_DATA_FLOAT);
  finish(how, "matmul descriptor");
  parts_.push_back(how);
  const CudnnDescriptor op = make(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
  refer(op, CUDNN_ATTR_OPERATION_MATMUL_ADESC, a.descriptor);
  refer(op, CUDNN_ATTR_OPERATION_MATMUL_BDESC, b.descriptor);
  refer(op, CUDNN_ATTR_OPERATION_MATMUL_CDESC, y.descriptor);
  refer(op, CUDNN_ATTR_OPERATION_MATMUL_DESC, how);
  if (sizes.m) refer(op, CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC, sizes.m.descriptor);
  if (sizes.n) refer(op, CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC, sizes.n.descriptor);
  if (sizes.k) refer(op, CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC, sizes.k.descriptor);
  finish(op, "matmul");
  operations_.push_back(op);
}

void CudnnGraph::pointwise(cudnnPointwiseMode_t mode, cudnnDataType_t precision, const Node& x,
                           const Node& b, const Node& y, const Node& t, int64_t axis) {
  const CudnnDescriptor how = make(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  set(how, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, std::vector{mode});
  set_type(how, CUDNN_ATTR_POINTWISE_MATH_PREC, precision);
  if (axis >= 0) set(how, CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, Dims{axis});
  finish(how, "pointwise descriptor");
  parts_.push_back(how);
  const CudnnDescriptor op = make(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  refer(op, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, how);
  refer(op, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x.descriptor);
  if (b) refer(op, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b.descriptor);
  if (t) refer(op, CUDNN_ATTR_OPERATION_POINTWISE_TDESC, t.descriptor);
  refer(op, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y.descriptor);
  finish(op, "pointwise");
  operations_.push_back(op);
}
void CudnnGraph::pointwise(cudnnPointwiseMode_t mode, const Node& x, const Node& b, const Node& y,
                           const Node& t) {
  // Comparisons work in the type of their result, all else in f32.
  pointwise(mode, y.type == CUDNN_DATA_BOOLEAN ? y.type : CUDNN_DATA_FLOAT, x, b, y, t, -1);
}
void CudnnGraph::index(int64_t axis, const Node& x, const Node& y) {
  pointwise(CUDNN_POINTWISE_GEN_INDEX, CUDNN_DATA_INT32, x, {}, y, {}, axis);
}

void CudnnGraph::reduce(cudnnReduceTensorOp_t kind, const Node& x, const Node& y) {
  const CudnnDescriptor how = make(CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
  set(how, CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, std::vector{kind});
  set_type(how, CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_DATA_FLOAT);
  finish(how, "reduction descriptor");
  parts_.push_back(how);
  const CudnnDescriptor op = make(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
  refer(op, CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x.descriptor);
  refer(op, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y.descriptor);
  refer(op, CUDNN_ATTR_OPERATION_REDUCTION_DESC, how);
  finish(op, "reduction");
  operations_.push_back(op);
}

void CudnnGraph::reshape(const Node& x, const Node& y) {
  const CudnnDescriptor op = make(CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
  refer(op, CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x.descriptor);
  refer(op, CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y.descriptor);
  finish(op, "reshape");
  operations_.push_back(op);
}

// --- plan -----------------------------------------------------------------------------------------------
CudnnPlan::CudnnPlan(CudnnGraph graph, const CudnnTarget& target)
    : graph_(std::move(graph)),
      whole_(make(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)),
      device_(target.device) {
  if (target.handle)
    set(whole_, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, std::vector{target.handle});
  std::vector<cudnnBackendDescriptor_t> operations;
  for (const CudnnDescriptor& op : graph_.operations_) operations.push_back(op.get());
  set(whole_, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, operations);
  finish(whole_, "graph");

  std::exception_ptr refusal = std::make_exception_ptr(
      CudnnError(CUDNN_STATUS_NOT_SUPPORTED, "cuDNN: no engine for this graph"));
  for (const CudnnDescriptor& config : proposals(whole_, target)) {
    try {
      const CudnnDescriptor plan = make(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
      refer(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
      if (device_) refer(plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, device_);
      finish(plan, "plan");
      int64_t found = 0;
      CUDNN_CHECK(cudnnBackendGetAttribute(plan.get(), CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                           CUDNN_TYPE_INT64, 1, &found, &workspace_bytes_));
      config_ = config;
      plan_ = plan;
      return;
    } catch (const CudnnError& error) {
      if (error.status == CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER)
        throw;  // not the engine's fault
      refusal = std::current_exception();
    }
  }
  std::rethrow_exception(refusal);
}

void CudnnPlan::execute(cudnnHandle_t handle, const std::map<int64_t, void*>& tensors,
                        void* workspace) const {
  std::vector<int64_t> ids;
  std::vector<void*> addresses;
  for (const auto& [id, address] : tensors) {
    ids.push_back(id);
    addresses.push_back(address);
  }
  for (const auto& [id, value] : graph_.scalars_) {
    ids.push_back(id);
    addresses.push_back(const_cast<float*>(&value));
  }
  const CudnnDescriptor pack = make(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  set(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, ids);
  set(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, addresses);
  set(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, std::vector<void*>{workspace});
  finish(pack, "variant pack");
  CUDNN_CHECK(cudnnBackendExecute(handle, plan_.get(), pack.get()));
}

}  // namespace switchyard::cuda
