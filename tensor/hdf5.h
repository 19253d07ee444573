// HDF5 in and out of tensors: a thin RAII layer over the C API, which is not thread-safe here and
// therefore sits behind one process-wide lock (each call takes it). Every failing call is an Error that
// names the file, the path and the call. Checkpoints, corpora and test fixtures go through this file.
#pragma once
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "tensor/tensor.h"

namespace switchyard {

// One source block of a virtual dataset: rows [first_row, first_row + rows) of the whole come from
// dataset `path` of `file` (relative to the index file).
struct VirtualSource {
  std::string file, path;
  int64_t first_row = 0, rows = 0;
};

// By name. Attributes that are no single number or text of fixed length are left out when a file is read.
using Attributes = std::map<std::string, std::variant<int64_t, double, std::string>>;

// Any HDF5 object (hid_t), closed with its owner
class Hdf5Id {
 public:
  explicit Hdf5Id(int64_t id) : id_(id) {}
  Hdf5Id(Hdf5Id&& other) noexcept : id_(other.release()) {}
  ~Hdf5Id();
  operator int64_t() const { return id_; }
  int64_t release() { return std::exchange(id_, -1); }

 private:
  int64_t id_;
};

class Hdf5File {
 public:
  static Hdf5File create(const std::string& file);  // truncates; format V110
  static Hdf5File open(const std::string& file);    // read-only
  void close();                                     // throws when the data could not be written

  bool exists(const std::string& path) const;
  // Full paths below the group, sorted, recursive; none where there is no such group
  std::vector<std::string> datasets(const std::string& group = "/") const;
  Shape shape(const std::string& path) const;
  DType dtype(const std::string& path) const;
  // Where a contiguous dataset's bytes begin in the file; -1 = nowhere (virtual, chunked, empty)
  int64_t offset(const std::string& path) const;

  // Parent groups are made; bf16 is stored as u16 with attribute dtype="bf16".
  void write(const std::string& path, const Tensor& t);
  // All of it, or `count` rows of dimension 0 from `first` on
  Tensor read(const std::string& path, int64_t first = 0, int64_t count = -1) const;
  void write_bytes(const std::string& path, const std::string& bytes);  // u8 [n]
  std::string read_bytes(const std::string& path) const;
  // UTF-8 [n], every string padded to the longest
  void write_strings(const std::string& path, const std::vector<std::string>& s);
  std::vector<std::string> read_strings(const std::string& path) const;
  // A virtual dataset over the sources. Rows without one read as NaN (integers: -1).
  void write_virtual(const std::string& path, const Shape& shape, DType dtype,
                     const std::vector<VirtualSource>& sources);

  // Attributes of a group or dataset ("/" = the file)
  void set_attr(const std::string& path, const std::string& name,
                const Attributes::mapped_type& value);
  Attributes attrs(const std::string& path) const;
  template <class T>  // int64_t, double or std::string: Error unless it is there and of this type
  T attr(const std::string& path, const std::string& name) const {
    const Attributes all = attrs(path);
    if (const auto found = all.find(name); found != all.end())
      if (const T* value = std::get_if<T>(&found->second)) return *value;
    throw Error(concat(name_, ": ", path, ": attribute ", name, " is missing or of another type"));
  }

 private:
  Hdf5File(std::string name, Hdf5Id id) : name_(std::move(name)), id_(std::move(id)) {}
  std::string name_;
  Hdf5Id id_;
};

}  // namespace switchyard
