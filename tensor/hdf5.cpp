// HDF5 files. Object times are not tracked, so equal contents give equal bytes. Sizes read from a file are
// checked against the file before anything is allocated. Text is stored with fixed length, padded with
// NUL: the heap behind variable-length strings crashes the library when it is damaged.
#include "tensor/hdf5.h"

#include <algorithm>
#include <mutex>
#include <system_error>

#include <hdf5.h>
#include <unistd.h>

namespace switchyard {
namespace {

std::recursive_mutex library;  // HDF5 is not thread-safe: every public function takes this lock
const std::string kRoot = "/";

// "object 'x' doesn't exist (H5G_loc_find)": the innermost reason
std::string hdf5_reason() {
  std::string reason;
  auto visit = [](unsigned depth, const H5E_error2_t* e, void* out) -> herr_t {
    if (depth == 0) *static_cast<std::string*>(out) = concat(e->desc, " (", e->func_name, ")");
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, visit, &reason);
  return reason;
}

// Where we are, for error messages; holds the lock while it lives
struct Place {
  const std::string& file;
  const std::string& path;
  std::lock_guard<std::recursive_mutex> lock{library};
  // errors become exceptions, not prints
  herr_t silenced = H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);

  [[noreturn]] void fail(const std::string& why) const {
    throw Error(concat(file, ": ", path, ": ", why));
  }
  template <class T>
  T ok(T result) const {
    if (result < 0) fail(hdf5_reason());
    return result;
  }
  Hdf5Id id(hid_t made) const { return Hdf5Id(ok(made)); }
};

Hdf5Id make_space(const Shape& shape, const Place& at) {
  const std::vector<hsize_t> dims(shape.begin(), shape.end());
  return at.id(H5Screate_simple(int(dims.size()), dims.data(), nullptr));
}

void select_rows(hid_t space, int64_t first, const Shape& part, const Place& at) {
  std::vector<hsize_t> start(part.size(), 0), size(part.begin(), part.end());
  start[0] = hsize_t(first);
  at.ok(H5Sselect_hyperslab(space, H5S_SELECT_SET, start.data(), nullptr, size.data(), nullptr));
}

Hdf5Id string_type(size_t size, const Place& at) {
  Hdf5Id type = at.id(H5Tcopy(H5T_C_S1));
  at.ok(H5Tset_size(type, std::max<size_t>(size, 1)));
  at.ok(H5Tset_cset(type, H5T_CSET_UTF8));
  at.ok(H5Tset_strpad(type, H5T_STR_NULLPAD));
  return type;
}

hid_t native_type(DType t) {
  const hid_t types[] = {H5T_NATIVE_FLOAT, H5T_NATIVE_DOUBLE, H5T_NATIVE_UINT16,
                         H5T_NATIVE_INT32, H5T_NATIVE_INT64,  H5T_NATIVE_UINT8};
  return types[int(t)];
}

DType dtype_of(hid_t dataset, const Place& at) {
  const Hdf5Id type = at.id(H5Dget_type(dataset));
  for (DType t : {DType::F32, DType::F64, DType::BF16, DType::I32, DType::I64, DType::U8})
    if (H5Tequal(type, native_type(t)) > 0) return t;
  at.fail("its type is none that a tensor can have");
}

Hdf5Id open_dataset(hid_t file, const Place& at) {
  return at.id(H5Dopen2(file, at.path.c_str(), H5P_DEFAULT));
}

// A damaged header may claim a huge extent: compared with what the file can hold.
Shape shape_of(hid_t file, hid_t dataset, const Place& at) {
  const Hdf5Id space = at.id(H5Dget_space(dataset)), type = at.id(H5Dget_type(dataset));
  const Hdf5Id plan = at.id(H5Dget_create_plist(dataset));
  std::vector<hsize_t> dims(size_t(at.ok(H5Sget_simple_extent_ndims(space))), 0);
  at.ok(H5Sget_simple_extent_dims(space, dims.data(), nullptr));
  hsize_t room = 0;
  at.ok(H5Fget_filesize(file, &room));
  if (H5Pget_layout(plan) == H5D_VIRTUAL) room = hsize_t(1) << 56;  // the bytes are in other files
  double bytes = double(H5Tget_size(type));
  for (hsize_t d : dims) bytes *= double(d);
  if (bytes > double(room))
    at.fail("its shape needs more bytes than the file can hold; the file is damaged");
  return Shape(dims.begin(), dims.end());
}

// A creation plan for files, groups and datasets, without time stamps
Hdf5Id timeless_plan(hid_t kind, const Place& at) {
  Hdf5Id plan = at.id(H5Pcreate(kind));
  at.ok(H5Pset_obj_track_times(plan, false));
  return plan;
}

Hdf5Id create_dataset(hid_t file, hid_t type, hid_t space, hid_t plan, const Place& at) {
  const Hdf5Id group_plan = timeless_plan(H5P_GROUP_CREATE, at);
  for (size_t slash = at.path.find('/', 1); slash != std::string::npos;
       slash = at.path.find('/', slash + 1)) {
    const std::string group = at.path.substr(0, slash);
    if (at.ok(H5Lexists(file, group.c_str(), H5P_DEFAULT))) continue;
    at.id(H5Gcreate2(file, group.c_str(), H5P_DEFAULT, group_plan, H5P_DEFAULT));
  }
  return at.id(H5Dcreate2(file, at.path.c_str(), type, space, H5P_DEFAULT, plan, H5P_DEFAULT));
}

void write_dataset(hid_t file, hid_t type, const Shape& shape, const void* values,
                   const Place& at) {
  const Hdf5Id plan = timeless_plan(H5P_DATASET_CREATE, at);
  const Hdf5Id set = create_dataset(file, type, make_space(shape, at), plan, at);
  if (numel_of(shape) > 0) at.ok(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values));
}

}  // namespace

Hdf5Id::~Hdf5Id() {
  const std::lock_guard lock(library);
  if (id_ >= 0) H5Idec_ref(id_);
}

Hdf5File Hdf5File::create(const std::string& file) {
  const Place at{file, kRoot};
  const Hdf5Id access = at.id(H5Pcreate(H5P_FILE_ACCESS));
  at.ok(H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110));
  const Hdf5Id plan = timeless_plan(H5P_FILE_CREATE, at);
  return {file, at.id(H5Fcreate(file.c_str(), H5F_ACC_TRUNC, plan, access))};
}

Hdf5File Hdf5File::open(const std::string& file) {
  const Place at{file, kRoot};
  user_check(access(file.c_str(), R_OK) == 0,
             concat(file, ": cannot be read: ", std::generic_category().message(errno)));
  Hdf5File f(file, Hdf5Id(H5Fopen(file.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT)));
  user_check(f.id_ >= 0, concat(file, ": is not a whole HDF5 file: ", hdf5_reason()));
  return f;
}

void Hdf5File::close() {
  const Place at{name_, kRoot};
  at.ok(H5Fflush(id_, H5F_SCOPE_LOCAL));
  at.ok(H5Fclose(id_.release()));
}

bool Hdf5File::exists(const std::string& path) const {
  const Place at{name_, path};
  return H5Oexists_by_name(id_, path.c_str(), H5P_DEFAULT) > 0;
}

std::vector<std::string> Hdf5File::datasets(const std::string& group) const {
  const Place at{name_, group};
  std::vector<std::string> names;
  if (!exists(group)) return names;
  auto keep = [](hid_t, const char* name, const H5O_info_t* info, void* out) -> herr_t {
    auto& found = *static_cast<std::vector<std::string>*>(out);
    if (info->type == H5O_TYPE_DATASET) found.push_back(name);
    return 0;
  };
  at.ok(H5Ovisit_by_name2(id_, group.c_str(), H5_INDEX_NAME, H5_ITER_NATIVE, keep, &names,
                          H5O_INFO_BASIC, H5P_DEFAULT));
  for (auto& name : names) name = (group == kRoot ? "" : group) + "/" + name;
  std::sort(names.begin(), names.end());
  return names;
}

Shape Hdf5File::shape(const std::string& path) const {
  const Place at{name_, path};
  return shape_of(id_, open_dataset(id_, at), at);
}

DType Hdf5File::dtype(const std::string& path) const {
  const Place at{name_, path};
  return dtype_of(open_dataset(id_, at), at);
}

int64_t Hdf5File::offset(const std::string& path) const {
  const Place at{name_, path};
  return int64_t(H5Dget_offset(open_dataset(id_, at)));  // HADDR_UNDEF = -1
}

void Hdf5File::write(const std::string& path, const Tensor& t) {
  write_dataset(id_, native_type(t.dtype()), t.shape(), t.raw(), {name_, path});
  if (t.dtype() == DType::BF16) set_attr(path, "dtype", "bf16");
}

Tensor Hdf5File::read(const std::string& path, int64_t first, int64_t count) const {
  const Place at{name_, path};
  const Hdf5Id set = open_dataset(id_, at), file_space = at.id(H5Dget_space(set));
  Shape part = shape_of(id_, set, at);
  if (count >= 0) {
    if (part.empty() || first < 0 || first > part[0] - count)
      at.fail(concat("rows ", first, " to ", first + count, " of shape ", to_string(part)));
    part[0] = count;
    select_rows(file_space, first, part, at);
  }
  const Tensor t = Tensor::empty(part, dtype_of(set, at));
  const Hdf5Id memory_space = make_space(part, at);
  if (t.numel() > 0)
    at.ok(H5Dread(set, native_type(t.dtype()), memory_space, file_space, H5P_DEFAULT, t.raw()));
  return t;
}

void Hdf5File::write_bytes(const std::string& path, const std::string& bytes) {
  write(path, Tensor::of(std::vector<uint8_t>(bytes.begin(), bytes.end())));
}

std::string Hdf5File::read_bytes(const std::string& path) const {
  const std::vector<uint8_t> bytes = read(path).to_vector<uint8_t>();
  return {bytes.begin(), bytes.end()};
}

void Hdf5File::write_strings(const std::string& path, const std::vector<std::string>& s) {
  const Place at{name_, path};
  size_t width = 1;
  for (const auto& text : s) width = std::max(width, text.size());
  std::string padded;
  for (const auto& text : s) padded += text + std::string(width - text.size(), '\0');
  write_dataset(id_, string_type(width, at), {int64_t(s.size())}, padded.data(), at);
}

std::vector<std::string> Hdf5File::read_strings(const std::string& path) const {
  const Place at{name_, path};
  const Hdf5Id set = open_dataset(id_, at), type = at.id(H5Dget_type(set));
  if (H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type))
    at.fail("holds no text of fixed length");
  const size_t width = H5Tget_size(type);
  std::string padded(size_t(numel_of(shape_of(id_, set, at))) * width, '\0');
  at.ok(H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, padded.data()));
  std::vector<std::string> strings;
  for (size_t i = 0; i < padded.size(); i += width)
    strings.emplace_back(padded.substr(i, width).c_str());
  return strings;
}

void Hdf5File::write_virtual(const std::string& path, const Shape& shape, DType dtype,
                             const std::vector<VirtualSource>& sources) {
  const Place at{name_, path};
  const Hdf5Id space = make_space(shape, at), plan = timeless_plan(H5P_DATASET_CREATE, at);
  const uint64_t ones = ~uint64_t(0);  // NaN, or -1: no plausible zero where a source is missing
  at.ok(H5Pset_fill_value(plan, native_type(dtype), &ones));
  for (const auto& source : sources) {
    Shape part = shape;
    part[0] = source.rows;
    select_rows(space, source.first_row, part, at);
    at.ok(H5Pset_virtual(plan, space, source.file.c_str(), source.path.c_str(),
                         make_space(part, at)));
  }
  create_dataset(id_, native_type(dtype), space, plan, at);
  if (dtype == DType::BF16) set_attr(path, "dtype", "bf16");
}

void Hdf5File::set_attr(const std::string& path, const std::string& name,
                        const Attributes::mapped_type& value) {
  const Place at{name_, path};
  auto write = [&](hid_t type, const void* bytes) {
    const Hdf5Id attr =
        at.id(H5Acreate_by_name(id_, path.c_str(), name.c_str(), type, make_space({}, at),
                                H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    at.ok(H5Awrite(attr, type, bytes));
  };
  if (const auto* text = std::get_if<std::string>(&value))
    write(string_type(text->size(), at), text->c_str());
  else if (const auto* number = std::get_if<int64_t>(&value)) write(H5T_NATIVE_INT64, number);
  else write(H5T_NATIVE_DOUBLE, std::get_if<double>(&value));
}

Attributes Hdf5File::attrs(const std::string& path) const {
  const Place at{name_, path};
  H5O_info_t info;
  at.ok(H5Oget_info_by_name2(id_, path.c_str(), &info, H5O_INFO_NUM_ATTRS, H5P_DEFAULT));
  Attributes values;
  for (hsize_t i = 0; i < info.num_attrs; ++i) {
    const Hdf5Id attr = at.id(
        H5Aopen_by_idx(id_, path.c_str(), H5_INDEX_NAME, H5_ITER_INC, i, H5P_DEFAULT, H5P_DEFAULT));
    const Hdf5Id type = at.id(H5Aget_type(attr)), space = at.id(H5Aget_space(attr));
    char name[256];
    at.ok(H5Aget_name(attr, sizeof(name), name));
    const H5T_class_t kind = H5Tget_class(type);
    if (H5Sget_simple_extent_npoints(space) != 1) continue;
    if (kind == H5T_STRING && !H5Tis_variable_str(type)) {
      std::string text(H5Tget_size(type), '\0');
      at.ok(H5Aread(attr, type, text.data()));
      values[name] = text.c_str();  // without the padding
    } else if (kind == H5T_FLOAT) {
      at.ok(H5Aread(attr, H5T_NATIVE_DOUBLE, &values[name].emplace<double>()));
    } else if (kind == H5T_INTEGER) {
      at.ok(H5Aread(attr, H5T_NATIVE_INT64, &values[name].emplace<int64_t>()));
    }
  }
  return values;
}

}  // namespace switchyard
