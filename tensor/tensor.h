// Tensor = shared storage + shape + dtype + device. Contiguous and row-major; views only by
// reshape() and by slice() along dimension 0. Copying a Tensor shares its storage.
// Read before: dtype.h. Read next: kernels.h.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tensor/dtype.h"

namespace switchyard {

enum class Device { CPU, CUDA };

using Shape = std::vector<int64_t>;
std::string to_string(const Shape& shape);  // "[3, 4]"
int64_t numel_of(const Shape& shape);       // product; 1 for a scalar, 0 with an empty dimension

class Tensor {
 public:
  Tensor() = default;  // undefined: no storage ("no gradient", "no bias")
  static Tensor empty(Shape shape, DType dtype = DType::F32, Device device = Device::CPU);
  static Tensor full(Shape shape, double value, DType dtype = DType::F32,
                     Device device = Device::CPU);
  static Tensor zeros(Shape shape, DType dtype = DType::F32, Device device = Device::CPU) {
    return full(std::move(shape), 0, dtype, device);
  }
  // A copy of host values, 1-d or with the given shape.
  template <class T>
  static Tensor of(const std::vector<T>& values, Shape shape = {}) {
    if (shape.empty()) shape = {int64_t(values.size())};
    Tensor t = empty(shape, kDTypeOf<T>);
    check(t.numel() == int64_t(values.size()), "Tensor::of: values do not fill the shape");
    std::copy(values.begin(), values.end(), t.data<T>());
    return t;
  }

  bool defined() const { return storage_ != nullptr; }
  bool unique() const { return storage_.use_count() == 1; }  // no other Tensor has the storage
  const Shape& shape() const { return shape_; }
  int64_t dim(int i) const { return shape_[i < 0 ? shape_.size() + i : i]; }  // -1 = last
  int rank() const { return int(shape_.size()); }
  int64_t numel() const { return numel_; }
  int64_t bytes() const { return numel_ * size_of(dtype_); }
  DType dtype() const { return dtype_; }
  Device device() const { return device_; }

  // Typed pointer to the first element; the type must match the dtype. Memory of the GPU can be read by
  // kernels only: host code takes a copy, to(Device::CPU).
  template <class T>
  T* data() const {
    if (defined() && kDTypeOf<T> != dtype_)
      throw Error(concat("tensor holds ", name_of(dtype_), ", asked for ", name_of(kDTypeOf<T>)));
    return reinterpret_cast<T*>(data_);
  }
  std::byte* raw() const { return data_; }
  template <class T>
  std::vector<T> to_vector() const {
    const Tensor host = to(Device::CPU);
    return std::vector<T>(host.data<T>(), host.data<T>() + numel_);
  }

  Tensor reshape(Shape shape) const;               // same storage; one dimension may be -1
  Tensor slice(int64_t begin, int64_t end) const;  // rows [begin, end) of dimension 0, shared
  Tensor clone() const;                            // own storage, same values
  Tensor to(DType dtype) const;                    // converted copy (itself when equal)
  Tensor to(Device device) const;                  // copy there (itself when it is there)

 private:
  std::shared_ptr<std::byte> storage_;  // from allocator.h
  std::byte* data_ = nullptr;
  Shape shape_;
  int64_t numel_ = 0;
  DType dtype_ = DType::F32;
  Device device_ = Device::CPU;
};

// to = from: of one dtype and number of elements, on any devices
void assign(const Tensor& from, const Tensor& to);

inline Tensor empty_like(const Tensor& t) {
  return Tensor::empty(t.shape(), t.dtype(), t.device());
}
inline Tensor zeros_like(const Tensor& t) {
  return Tensor::zeros(t.shape(), t.dtype(), t.device());
}

}  // namespace switchyard
