// What hdf5.cpp and hdf5_text.cpp share: the lock, handles that close themselves, and errors that name file,
// path and call with the innermost reason HDF5 gives. For these two files only.
#pragma once
#include <functional>
#include <mutex>
#include <string>
#include <utility>

#include <hdf5.h>

#include "tensor/tensor.h"

namespace switchyard::hdf5 {

// The library is not thread-safe: one lock for the process, taken by every public function.
struct Locked {
  static std::recursive_mutex& mutex() {
    static std::recursive_mutex m;
    return m;
  }
  std::lock_guard<std::recursive_mutex> guard{mutex()};
  Locked() { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }  // errors become exceptions, not prints
};

inline std::string hdf5_reason() {
  std::string reason;
  auto first = [](unsigned, const H5E_error2_t* e, void* out) -> herr_t {
    auto& text = *static_cast<std::string*>(out);
    if (text.empty() && e->desc) text = e->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, first, &reason);
  return reason.empty() ? "no reason given" : reason;
}

// Where we are, for error messages; holds the lock while it lives
struct Place {
  const std::string& file;
  const std::string& path;
  Locked lock = {};
  template <class T>
  T ok(T result, const char* call) const {
    if (result < 0) throw Error(concat(file, ": ", path, ": ", call, " failed: ", hdf5_reason()));
    return result;
  }
  [[noreturn]] void fail(const std::string& why) const {
    throw Error(concat(file, ": ", path, ": ", why));
  }
};

class Id {
 public:
  using Close = herr_t (*)(hid_t);
  Id(hid_t id, Close close) : id_(id), close_(close) {}
  Id(Id&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  ~Id() {
    if (id_ >= 0) close_(id_);
  }
  operator hid_t() const { return id_; }

 private:
  hid_t id_;
  Close close_;
};

inline Id make_space(const Shape& shape, const Place& at) {
  std::vector<hsize_t> dims(shape.begin(), shape.end());
  hid_t id = dims.empty() ? H5Screate(H5S_SCALAR)
                          : H5Screate_simple(int(dims.size()), dims.data(), nullptr);
  return {at.ok(id, "H5Screate"), H5Sclose};
}

inline Id string_type(size_t size, const Place& at) {
  Id type(at.ok(H5Tcopy(H5T_C_S1), "H5Tcopy"), H5Tclose);
  at.ok(H5Tset_size(type, size), "H5Tset_size");
  at.ok(H5Tset_cset(type, H5T_CSET_UTF8), "H5Tset_cset");
  at.ok(H5Tset_strpad(type, H5T_STR_NULLPAD), "H5Tset_strpad");
  return type;
}

inline Id open_dataset(hid_t file, const Place& at) {
  return {at.ok(H5Dopen2(file, at.path.c_str(), H5P_DEFAULT), "H5Dopen"), H5Dclose};
}
inline Id open_object(hid_t file, const Place& at) {
  return {at.ok(H5Oopen(file, at.path.c_str(), H5P_DEFAULT), "H5Oopen"), H5Oclose};
}

Id dataset_plan(const Place& at);
Id create_dataset(hid_t file, hid_t type, hid_t space, hid_t plan, const Place& at);
Shape shape_of(hid_t dataset, const Place& at);
// A damaged header may claim a huge extent: compare with what the file can hold before allocating.
void check_extent(hid_t file, hid_t dataset, int64_t bytes, const Place& at);
void set_text(hid_t object, const Place& at, const std::string& name, const std::string& value);

}  // namespace switchyard::hdf5
