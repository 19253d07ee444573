// Making tensors and views of them.
#include "tensor/tensor.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <utility>

#include "tensor/allocator.h"
#include "tensor/device.h"
#include "tensor/kernels.h"

namespace switchyard {

std::string to_string(const Shape& shape) {
  std::string s = "[";
  for (size_t i = 0; i < shape.size(); ++i) s += (i ? ", " : "") + std::to_string(shape[i]);
  return s + "]";
}

int64_t numel_of(const Shape& shape) {
  return std::accumulate(shape.begin(), shape.end(), int64_t(1), std::multiplies<>());
}

Tensor Tensor::empty(Shape shape, DType dtype, Device device) {
  for (int64_t d : shape)
    if (d < 0) throw Error(concat("negative dimension in ", to_string(shape)));
  Tensor t;
  t.numel_ = numel_of(shape);
  t.shape_ = std::move(shape);
  t.dtype_ = dtype;
  t.device_ = device;
  t.storage_ = device == Device::CUDA ? cuda::allocate(t.bytes()) : allocate(t.bytes());
  t.data_ = t.storage_.get();
  return t;
}

Tensor Tensor::full(Shape shape, double value, DType dtype, Device device) {
  Tensor t = empty(std::move(shape), dtype, device);
  fill(value, t);
  return t;
}

Tensor Tensor::reshape(Shape shape) const {
  const auto open = std::find(shape.begin(), shape.end(), -1);
  const Shape wanted = shape;
  if (open != shape.end()) {
    *open = 1;
    const int64_t known = numel_of(shape);
    *open = known ? numel_ / known : 0;
  }
  if (std::count(wanted.begin(), wanted.end(), -1) > 1 || numel_of(shape) != numel_)
    throw Error(concat("reshape: ", to_string(shape_), " does not fit ", to_string(wanted)));
  Tensor t = *this;
  t.shape_ = std::move(shape);
  return t;
}

Tensor Tensor::slice(int64_t begin, int64_t end) const {
  if (rank() == 0 || begin < 0 || begin > end || end > shape_[0])
    throw Error(concat("slice: rows ", begin, " to ", end, " of ", to_string(shape_)));
  Tensor t = *this;
  t.shape_[0] = end - begin;
  t.numel_ = numel_of(t.shape_);
  const int64_t row = shape_[0] ? numel_ / shape_[0] : 0;
  t.data_ += begin * row * size_of(dtype_);
  return t;
}

Tensor Tensor::clone() const {
  if (!defined()) return {};
  Tensor t = empty_like(*this);
  convert(*this, t);
  return t;
}

Tensor Tensor::to(DType dtype) const {
  if (!defined() || dtype == dtype_) return *this;
  Tensor t = empty(shape_, dtype, device_);
  convert(*this, t);
  return t;
}

Tensor Tensor::to(Device device) const {
  if (!defined() || device == device_) return *this;
  Tensor t = empty(shape_, dtype_, device);
  assign(*this, t);
  return t;
}

std::vector<Tensor> to_host(const std::vector<Tensor>& tensors) {
  std::vector<Tensor> copies = tensors;
  std::vector<cuda::Transfer> transfers;
  for (Tensor& t : copies)
    if (t.defined() && t.device() == Device::CUDA) {
      const Tensor host = Tensor::empty(t.shape(), t.dtype());
      transfers.push_back({t.raw(), host.raw(), t.bytes()});
      t = host;
    }
  if (!transfers.empty()) cuda::copy_to_host(transfers);
  return copies;
}

void assign(const Tensor& from, const Tensor& to) {
  check(from.dtype() == to.dtype() && from.numel() == to.numel(), "assign: unlike tensors");
  if (from.device() == Device::CPU && to.device() == Device::CPU)
    std::copy_n(from.raw(), from.bytes(), to.raw());
  else cuda::copy(from.raw(), from.device(), to.raw(), to.device(), from.bytes());
}

}  // namespace switchyard
