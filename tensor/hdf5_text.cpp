// HDF5 files: text and attributes. Text is written with fixed length, padded with NUL: the heap behind
// variable-length strings crashes the library when it is damaged. Both kinds are read.
#include <algorithm>

#include "tensor/hdf5.h"
#include "tensor/hdf5_handles.h"

namespace switchyard {
using namespace hdf5;
namespace {

Id open_attribute(hid_t object, const Place& at, const std::string& name) {
  Id attr(at.ok(H5Aopen(object, name.c_str(), H5P_DEFAULT), ("H5Aopen " + name).c_str()), H5Aclose);
  Id space(at.ok(H5Aget_space(attr), "H5Aget_space"), H5Sclose);
  if (H5Sget_simple_extent_npoints(space) != 1)
    at.fail(concat("attribute ", name, " is no scalar"));
  return attr;
}

H5T_class_t class_of(hid_t attr, const Place& at) {
  Id type(at.ok(H5Aget_type(attr), "H5Aget_type"), H5Tclose);
  return H5Tget_class(type);
}

void set_attribute(hid_t object, const Place& at, const std::string& name, hid_t type, hid_t memory,
                   const void* value) {
  if (H5Aexists(object, name.c_str()) > 0) at.ok(H5Adelete(object, name.c_str()), "H5Adelete");
  Id space = make_space({}, at);
  Id attr(
      at.ok(H5Acreate2(object, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), "H5Acreate"),
      H5Aclose);
  at.ok(H5Awrite(attr, memory, value), "H5Awrite");
}

std::string without_padding(std::string s, H5T_str_t padding) {
  s.resize(std::min(s.size(), s.find('\0')));
  if (padding == H5T_STR_SPACEPAD) s.resize(s.find_last_not_of(' ') + 1);
  return s;
}

// n strings of fixed or variable length, through read(memory type, buffer)
std::vector<std::string> strings_from(hid_t type, int64_t n, hid_t space, const Place& at,
                                      const std::function<herr_t(hid_t, void*)>& read) {
  if (H5Tget_class(type) != H5T_STRING) at.fail("holds no text");
  std::vector<std::string> strings;
  if (at.ok(H5Tis_variable_str(type), "H5Tis_variable_str")) {
    std::vector<char*> pointers(size_t(n), nullptr);
    at.ok(read(type, pointers.data()), "reading strings");
    for (const char* p : pointers) strings.emplace_back(p ? p : "");
    H5Dvlen_reclaim(type, space, H5P_DEFAULT, pointers.data());
    return strings;
  }
  const size_t size = H5Tget_size(type);
  std::string buffer(size_t(n) * size, '\0');
  at.ok(read(type, buffer.data()), "reading strings");
  for (int64_t i = 0; i < n; ++i)
    strings.push_back(without_padding(buffer.substr(size_t(i) * size, size), H5Tget_strpad(type)));
  return strings;
}

}  // namespace

void hdf5::set_text(hid_t object, const Place& at, const std::string& name,
                    const std::string& value) {
  Id type = string_type(std::max<size_t>(value.size(), 1), at);
  set_attribute(object, at, name, type, type, value.c_str());
}

void Hdf5File::write_strings(const std::string& path, const std::vector<std::string>& s) {
  const Place at{name_, path};
  size_t width = 1;
  for (const auto& text : s) {
    if (text.find('\0') != std::string::npos) at.fail("text with a NUL byte");
    width = std::max(width, text.size());
  }
  std::string padded;
  for (const auto& text : s) padded += text + std::string(width - text.size(), '\0');
  Id type = string_type(width, at);
  Id set = create_dataset(id_, type, make_space({int64_t(s.size())}, at), dataset_plan(at), at);
  if (!s.empty())
    at.ok(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, padded.data()), "H5Dwrite");
}

std::vector<std::string> Hdf5File::read_strings(const std::string& path) const {
  const Place at{name_, path};
  Id set = open_dataset(id_, at);
  Id type(at.ok(H5Dget_type(set), "H5Dget_type"), H5Tclose);
  Id space(at.ok(H5Dget_space(set), "H5Dget_space"), H5Sclose);
  const int64_t n = numel_of(shape_of(set, at));
  check_extent(id_, set, n * int64_t(H5Tis_variable_str(type) > 0 ? 16 : H5Tget_size(type)), at);
  return strings_from(type, n, space, at, [&](hid_t memory, void* buffer) {
    return H5Dread(set, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, buffer);
  });
}

bool Hdf5File::has_attr(const std::string& path, const std::string& name) const {
  const Place at{name_, path};
  return at.ok(H5Aexists(open_object(id_, at), name.c_str()), "H5Aexists") > 0;
}

std::vector<std::string> Hdf5File::attrs(const std::string& path) const {
  const Place at{name_, path};
  std::vector<std::string> names;
  auto keep = [](hid_t, const char* name, const H5A_info_t*, void* out) -> herr_t {
    static_cast<std::vector<std::string>*>(out)->push_back(name);
    return 0;
  };
  at.ok(H5Aiterate2(open_object(id_, at), H5_INDEX_NAME, H5_ITER_NATIVE, nullptr, keep, &names),
        "H5Aiterate");
  std::sort(names.begin(), names.end());
  return names;
}

void Hdf5File::set_attr(const std::string& path, const std::string& name, int64_t value) {
  const Place at{name_, path};
  set_attribute(open_object(id_, at), at, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &value);
}

void Hdf5File::set_attr(const std::string& path, const std::string& name, double value) {
  const Place at{name_, path};
  set_attribute(open_object(id_, at), at, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &value);
}

void Hdf5File::set_attr(const std::string& path, const std::string& name,
                        const std::string& value) {
  const Place at{name_, path};
  set_text(open_object(id_, at), at, name, value);
}

AttrKind Hdf5File::attr_kind(const std::string& path, const std::string& name) const {
  const Place at{name_, path};
  Id object = open_object(id_, at);
  const H5T_class_t kind = class_of(open_attribute(object, at, name), at);
  return kind == H5T_STRING  ? AttrKind::Text
         : kind == H5T_FLOAT ? AttrKind::Real
                             : AttrKind::Integer;
}

int64_t Hdf5File::attr_int(const std::string& path, const std::string& name) const {
  const Place at{name_, path};
  Id object = open_object(id_, at);
  Id attr = open_attribute(object, at, name);
  const H5T_class_t kind = class_of(attr, at);
  if (kind != H5T_INTEGER && kind != H5T_ENUM)
    at.fail(concat("attribute ", name, " is no integer"));
  int64_t value = 0;
  at.ok(H5Aread(attr, H5T_NATIVE_INT64, &value), "H5Aread");
  return value;
}

double Hdf5File::attr_double(const std::string& path, const std::string& name) const {
  const Place at{name_, path};
  Id object = open_object(id_, at);
  Id attr = open_attribute(object, at, name);
  const H5T_class_t kind = class_of(attr, at);
  if (kind != H5T_INTEGER && kind != H5T_FLOAT)
    at.fail(concat("attribute ", name, " is no number"));
  double value = 0;
  at.ok(H5Aread(attr, H5T_NATIVE_DOUBLE, &value), "H5Aread");
  return value;
}

std::string Hdf5File::attr_string(const std::string& path, const std::string& name) const {
  const Place at{name_, path};
  Id object = open_object(id_, at);
  Id attr = open_attribute(object, at, name);
  Id type(at.ok(H5Aget_type(attr), "H5Aget_type"), H5Tclose);
  Id space(at.ok(H5Aget_space(attr), "H5Aget_space"), H5Sclose);
  return strings_from(type, 1, space, at,
                      [&](hid_t memory, void* buffer) { return H5Aread(attr, memory, buffer); })[0];
}

}  // namespace switchyard
