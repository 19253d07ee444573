// HDF5 files: groups and numbers. Object times are not tracked, so equal contents give equal bytes.
// Sizes read from a file are checked against the file before anything is allocated.
#include "tensor/hdf5.h"

#include <algorithm>
#include <limits>
#include <system_error>

#include <unistd.h>

#include "tensor/hdf5_handles.h"

namespace switchyard {
namespace hdf5 {

Shape shape_of(hid_t dataset, const Place& at) {
  Id space(at.ok(H5Dget_space(dataset), "H5Dget_space"), H5Sclose);
  if (H5Sget_simple_extent_type(space) == H5S_NULL) return {0};
  const int rank = at.ok(H5Sget_simple_extent_ndims(space), "H5Sget_simple_extent_ndims");
  std::vector<hsize_t> dims(size_t(rank), 0);
  at.ok(H5Sget_simple_extent_dims(space, dims.data(), nullptr), "H5Sget_simple_extent_dims");
  int64_t numel = 1;
  for (hsize_t d : dims) {
    if (d > hsize_t(1) << 48 || __builtin_mul_overflow(numel, int64_t(d), &numel) ||
        numel > int64_t(1) << 56)
      at.fail("impossible shape; the file is damaged");
  }
  return Shape(dims.begin(), dims.end());
}

void check_extent(hid_t file, hid_t dataset, int64_t bytes, const Place& at) {
  hsize_t size = 0;
  at.ok(H5Fget_filesize(file, &size), "H5Fget_filesize");
  Id plan(at.ok(H5Dget_create_plist(dataset), "H5Dget_create_plist"), H5Pclose);
  const H5D_layout_t layout = H5Pget_layout(plan);
  if (layout == H5D_VIRTUAL) return;  // the bytes are in other files
  // deflate compresses at most 1032-fold
  const int64_t room = layout == H5D_CHUNKED ? (int64_t(size) + (1 << 20)) * 1032 : int64_t(size);
  if (bytes > room) at.fail(concat("claims ", bytes, " bytes, more than the file can hold"));
}

// Groups above `path`, without time stamps
static void make_parents(hid_t file, const Place& at) {
  Id plan(at.ok(H5Pcreate(H5P_GROUP_CREATE), "H5Pcreate"), H5Pclose);
  at.ok(H5Pset_obj_track_times(plan, false), "H5Pset_obj_track_times");
  for (size_t slash = at.path.find('/', 1); slash != std::string::npos;
       slash = at.path.find('/', slash + 1)) {
    const std::string group = at.path.substr(0, slash);
    if (at.ok(H5Lexists(file, group.c_str(), H5P_DEFAULT), "H5Lexists")) continue;
    Id made(at.ok(H5Gcreate2(file, group.c_str(), H5P_DEFAULT, plan, H5P_DEFAULT), "H5Gcreate"),
            H5Gclose);
  }
}

Id dataset_plan(const Place& at) {
  Id plan(at.ok(H5Pcreate(H5P_DATASET_CREATE), "H5Pcreate"), H5Pclose);
  at.ok(H5Pset_obj_track_times(plan, false), "H5Pset_obj_track_times");
  at.ok(H5Pset_fill_time(plan, H5D_FILL_TIME_NEVER), "H5Pset_fill_time");
  return plan;
}

Id create_dataset(hid_t file, hid_t type, hid_t space, hid_t plan, const Place& at) {
  make_parents(file, at);
  return {at.ok(H5Dcreate2(file, at.path.c_str(), type, space, H5P_DEFAULT, plan, H5P_DEFAULT),
                "H5Dcreate"),
          H5Dclose};
}

}  // namespace hdf5

using namespace hdf5;
namespace {

// By DType, in the order of the enum
hid_t memory_type(DType t) {
  const hid_t types[] = {H5T_NATIVE_FLOAT, H5T_NATIVE_DOUBLE, H5T_NATIVE_UINT16,
                         H5T_NATIVE_INT32, H5T_NATIVE_INT64,  H5T_NATIVE_UINT8};
  return types[int(t)];
}
hid_t file_type(DType t) {
  const hid_t types[] = {H5T_IEEE_F32LE, H5T_IEEE_F64LE, H5T_STD_U16LE,
                         H5T_STD_I32LE,  H5T_STD_I64LE,  H5T_STD_U8LE};
  return types[int(t)];
}

DType dtype_of(hid_t dataset, const Place& at) {
  Id type(at.ok(H5Dget_type(dataset), "H5Dget_type"), H5Tclose);
  const size_t size = H5Tget_size(type);
  const H5T_class_t kind = H5Tget_class(type);
  if (kind == H5T_FLOAT && size == 4) return DType::F32;
  if (kind == H5T_FLOAT && size == 8) return DType::F64;
  if (kind == H5T_ENUM && size == 1) return DType::U8;  // a boolean of h5py
  if (kind != H5T_INTEGER || size > 8) at.fail("its type is neither f32, f64 nor an integer");
  const bool is_signed = H5Tget_sign(type) == H5T_SGN_2;
  if (size == 2 && !is_signed && H5Aexists(dataset, "dtype") > 0) return DType::BF16;
  if (size == 1 && !is_signed) return DType::U8;
  return size < 4 || (size == 4 && is_signed) ? DType::I32 : DType::I64;
}

}  // namespace

Hdf5File Hdf5File::create(const std::string& file) {
  const std::string root = "/";
  const Place at{file, root};
  Id access(at.ok(H5Pcreate(H5P_FILE_ACCESS), "H5Pcreate"), H5Pclose);
  Id plan(at.ok(H5Pcreate(H5P_FILE_CREATE), "H5Pcreate"), H5Pclose);
  at.ok(H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110), "H5Pset_libver_bounds");
  at.ok(H5Pset_fclose_degree(access, H5F_CLOSE_STRONG), "H5Pset_fclose_degree");
  at.ok(H5Pset_obj_track_times(plan, false), "H5Pset_obj_track_times");
  Hdf5File f;
  f.name_ = file;
  f.id_ = at.ok(H5Fcreate(file.c_str(), H5F_ACC_TRUNC, plan, access), "H5Fcreate");
  return f;
}

Hdf5File Hdf5File::open(const std::string& file) {
  Locked lock;
  user_check(access(file.c_str(), R_OK) == 0,
             concat(file, ": cannot be read: ", std::generic_category().message(errno)));
  Hdf5File f;
  f.name_ = file;
  f.id_ = H5Fopen(file.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  user_check(f.id_ >= 0, concat(file, ": is not a whole HDF5 file: ", hdf5_reason()));
  return f;
}

Hdf5File::Hdf5File(Hdf5File&& other) noexcept
    : id_(std::exchange(other.id_, -1)), name_(std::move(other.name_)) {}

Hdf5File::~Hdf5File() {
  Locked lock;
  if (id_ >= 0) H5Fclose(id_);
}

void Hdf5File::close() {
  const std::string root = "/";
  const Place at{name_, root};
  at.ok(H5Fflush(id_, H5F_SCOPE_LOCAL), "H5Fflush");
  at.ok(H5Fclose(std::exchange(id_, -1)), "H5Fclose");
}

bool Hdf5File::exists(const std::string& path) const {
  Locked lock;
  if (path == "/") return true;
  for (size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    if (H5Lexists(id_, path.substr(0, slash).c_str(), H5P_DEFAULT) <= 0) return false;
    if (slash == std::string::npos) return H5Oexists_by_name(id_, path.c_str(), H5P_DEFAULT) > 0;
  }
}

std::vector<std::string> Hdf5File::datasets(const std::string& group) const {
  const Place at{name_, group};
  Id start = open_object(id_, at);
  std::vector<std::string> names;
  auto keep = [](hid_t, const char* name, const H5O_info_t* info, void* out) -> herr_t {
    if (info->type == H5O_TYPE_DATASET)
      static_cast<std::vector<std::string>*>(out)->push_back(name);
    return 0;
  };
  at.ok(H5Ovisit2(start, H5_INDEX_NAME, H5_ITER_NATIVE, keep, &names, H5O_INFO_BASIC), "H5Ovisit");
  for (auto& name : names) {
    if (name == ".") name = group;  // `group` is itself a dataset
    else name = (group.back() == '/' ? group : group + "/") + name;
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> Hdf5File::children(const std::string& group) const {
  const Place at{name_, group};
  Id start = open_object(id_, at);
  std::vector<std::string> names;
  auto keep = [](hid_t, const char* name, const H5L_info_t*, void* out) -> herr_t {
    static_cast<std::vector<std::string>*>(out)->push_back(name);
    return 0;
  };
  at.ok(H5Literate(start, H5_INDEX_NAME, H5_ITER_NATIVE, nullptr, keep, &names), "H5Literate");
  std::sort(names.begin(), names.end());
  return names;
}

Shape Hdf5File::shape(const std::string& path) const {
  const Place at{name_, path};
  return shape_of(open_dataset(id_, at), at);
}

DType Hdf5File::dtype(const std::string& path) const {
  const Place at{name_, path};
  return dtype_of(open_dataset(id_, at), at);
}

int64_t Hdf5File::offset(const std::string& path) const {
  const Place at{name_, path};
  const haddr_t where = H5Dget_offset(open_dataset(id_, at));
  return where == HADDR_UNDEF ? -1 : int64_t(where);
}

void Hdf5File::write(const std::string& path, const Tensor& t) {
  const Place at{name_, path};
  Id space = make_space(t.shape(), at);
  Id set = create_dataset(id_, file_type(t.dtype()), space, dataset_plan(at), at);
  if (t.numel() > 0)
    at.ok(H5Dwrite(set, memory_type(t.dtype()), H5S_ALL, H5S_ALL, H5P_DEFAULT, t.raw()),
          "H5Dwrite");
  if (t.dtype() == DType::BF16) set_text(set, at, "dtype", "bf16");
}

Tensor Hdf5File::read(const std::string& path) const {
  Locked lock;
  const Shape whole = shape(path);
  if (!whole.empty()) return read_rows(path, 0, whole[0]);
  const Place at{name_, path};
  Id set = open_dataset(id_, at);
  Tensor t = Tensor::empty({}, dtype_of(set, at));
  at.ok(H5Dread(set, memory_type(t.dtype()), H5S_ALL, H5S_ALL, H5P_DEFAULT, t.raw()), "H5Dread");
  return t;
}

Tensor Hdf5File::read_rows(const std::string& path, int64_t first, int64_t count) const {
  const Place at{name_, path};
  Id set = open_dataset(id_, at);
  Shape part = shape_of(set, at);
  if (part.empty() || first < 0 || count < 0 || first > part[0] || count > part[0] - first)
    at.fail(concat("rows ", first, " to ", first + count, " of shape ", to_string(part)));
  const DType type = dtype_of(set, at);
  check_extent(id_, set, numel_of(part) * size_of(type), at);
  part[0] = count;
  Tensor t = Tensor::empty(part, type);
  if (t.numel() == 0) return t;
  std::vector<hsize_t> start(part.size(), 0), size(part.begin(), part.end());
  start[0] = hsize_t(first);
  Id rows(at.ok(H5Dget_space(set), "H5Dget_space"), H5Sclose);
  at.ok(H5Sselect_hyperslab(rows, H5S_SELECT_SET, start.data(), nullptr, size.data(), nullptr),
        "H5Sselect_hyperslab");
  at.ok(H5Dread(set, memory_type(type), make_space(part, at), rows, H5P_DEFAULT, t.raw()),
        "H5Dread");
  return t;
}

void Hdf5File::write_bytes(const std::string& path, const std::string& bytes) {
  write(path,
        Tensor::of(std::vector<uint8_t>(bytes.begin(), bytes.end()), {int64_t(bytes.size())}));
}

std::string Hdf5File::read_bytes(const std::string& path) const {
  const Tensor t = read(path);
  const Place at{name_, path};
  if (t.dtype() != DType::U8) at.fail("holds no bytes");
  return std::string(reinterpret_cast<const char*>(t.raw()), size_t(t.numel()));
}

void Hdf5File::write_virtual(const std::string& path, const Shape& shape, DType dtype,
                             const std::vector<VirtualSource>& sources) {
  const Place at{name_, path};
  if (shape.empty()) at.fail("a virtual dataset needs at least one dimension");
  Id space = make_space(shape, at);
  Id plan(at.ok(H5Pcreate(H5P_DATASET_CREATE), "H5Pcreate"), H5Pclose);
  at.ok(H5Pset_obj_track_times(plan, false), "H5Pset_obj_track_times");
  // What a missing source reads as: NaN rather than a plausible zero
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const int64_t minus_one = -1;
  const bool is_float = dtype == DType::F32 || dtype == DType::F64;
  at.ok(is_float ? H5Pset_fill_value(plan, H5T_NATIVE_DOUBLE, &nan)
                 : H5Pset_fill_value(plan, H5T_NATIVE_INT64, &minus_one),
        "H5Pset_fill_value");
  for (const auto& source : sources) {
    std::vector<hsize_t> start(shape.size(), 0), size(shape.begin(), shape.end());
    start[0] = hsize_t(source.first_row);
    size[0] = hsize_t(source.rows);
    Shape part = shape;
    part[0] = source.rows;
    at.ok(H5Sselect_hyperslab(space, H5S_SELECT_SET, start.data(), nullptr, size.data(), nullptr),
          "H5Sselect_hyperslab");
    at.ok(
        H5Pset_virtual(plan, space, source.file.c_str(), source.path.c_str(), make_space(part, at)),
        "H5Pset_virtual");
  }
  Id set = create_dataset(id_, file_type(dtype), space, plan, at);
  if (dtype == DType::BF16) set_text(set, at, "dtype", "bf16");
}

}  // namespace switchyard
