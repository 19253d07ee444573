// HDF5 files. Object times are not tracked, so equal contents give equal bytes. Sizes read from a file are
// checked against the file before anything is allocated. Text is written with fixed length, padded with
// NUL: the heap behind variable-length strings crashes the library when it is damaged.
#include "tensor/hdf5.h"

#include <algorithm>
#include <limits>
#include <mutex>
#include <system_error>
#include <utility>

#include <hdf5.h>
#include <unistd.h>

namespace switchyard {
namespace {

// The library is not thread-safe: one lock for the process, taken by every public function.
struct Locked {
  static std::recursive_mutex& mutex() {
    static std::recursive_mutex m;
    return m;
  }
  std::lock_guard<std::recursive_mutex> guard{mutex()};
  Locked() { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }  // errors become exceptions, not prints
};

// "H5Dopen2 failed: object 'x' doesn't exist": the innermost reason, the outermost function
std::string hdf5_reason() {
  std::pair<std::string, std::string> call_and_reason;
  auto visit = [](unsigned, const H5E_error2_t* e, void* out) -> herr_t {
    auto& [call, reason] = *static_cast<std::pair<std::string, std::string>*>(out);
    if (reason.empty() && e->desc) reason = e->desc;
    call = e->func_name;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, visit, &call_and_reason);
  return call_and_reason.first + " failed: " + call_and_reason.second;
}

// Any HDF5 object, closed with its last owner
class Id {
 public:
  explicit Id(hid_t id) : id_(id) {}
  Id(Id&& other) noexcept : id_(std::exchange(other.id_, -1)) {}
  ~Id() {
    if (id_ >= 0) H5Idec_ref(id_);
  }
  operator hid_t() const { return id_; }

 private:
  hid_t id_;
};

// Where we are, for error messages; holds the lock while it lives
struct Place {
  const std::string& file;
  const std::string& path;
  Locked lock = {};
  [[noreturn]] void fail(const std::string& why) const {
    throw Error(concat(file, ": ", path, ": ", why));
  }
  template <class T>
  T ok(T result) const {
    if (result < 0) fail(hdf5_reason());
    return result;
  }
  Id id(hid_t made) const { return Id(ok(made)); }
};

Id make_space(const Shape& shape, const Place& at) {
  if (shape.empty()) return at.id(H5Screate(H5S_SCALAR));
  const std::vector<hsize_t> dims(shape.begin(), shape.end());
  return at.id(H5Screate_simple(int(dims.size()), dims.data(), nullptr));
}

void select_rows(hid_t space, int64_t first, const Shape& part, const Place& at) {
  std::vector<hsize_t> start(part.size(), 0), size(part.begin(), part.end());
  start[0] = hsize_t(first);
  at.ok(H5Sselect_hyperslab(space, H5S_SELECT_SET, start.data(), nullptr, size.data(), nullptr));
}

Id string_type(size_t size, const Place& at) {
  Id type = at.id(H5Tcopy(H5T_C_S1));
  at.ok(H5Tset_size(type, std::max<size_t>(size, 1)));
  at.ok(H5Tset_cset(type, H5T_CSET_UTF8));
  at.ok(H5Tset_strpad(type, H5T_STR_NULLPAD));
  return type;
}

// A creation plan for files, groups and datasets, without time stamps
Id timeless_plan(hid_t kind, const Place& at) {
  Id plan = at.id(H5Pcreate(kind));
  at.ok(H5Pset_obj_track_times(plan, false));
  return plan;
}

Id open_dataset(hid_t file, const Place& at) {
  return at.id(H5Dopen2(file, at.path.c_str(), H5P_DEFAULT));
}
Id open_object(hid_t file, const Place& at) {
  return at.id(H5Oopen(file, at.path.c_str(), H5P_DEFAULT));
}

// A damaged header may claim a huge extent: compared with what the file can hold.
Shape shape_of(hid_t file, hid_t dataset, const Place& at) {
  const Id space = at.id(H5Dget_space(dataset)), type = at.id(H5Dget_type(dataset));
  const Id plan = at.id(H5Dget_create_plist(dataset));
  std::vector<hsize_t> dims(size_t(at.ok(H5Sget_simple_extent_ndims(space))), 0);
  at.ok(H5Sget_simple_extent_dims(space, dims.data(), nullptr));
  hsize_t room = 0;
  at.ok(H5Fget_filesize(file, &room));
  const H5D_layout_t layout = H5Pget_layout(plan);
  if (layout == H5D_CHUNKED) room = (room + (1 << 20)) * 1032;  // the most that deflate compresses
  if (layout == H5D_VIRTUAL) room = hsize_t(1) << 56;           // the bytes are in other files
  hsize_t bytes = H5Tget_size(type);
  for (hsize_t d : dims)
    if (d > hsize_t(1) << 48 || __builtin_mul_overflow(bytes, d, &bytes) || bytes > room)
      at.fail("its shape needs more bytes than the file can hold; the file is damaged");
  return Shape(dims.begin(), dims.end());
}

hid_t native_type(DType t) {
  const hid_t types[] = {H5T_NATIVE_FLOAT, H5T_NATIVE_DOUBLE, H5T_NATIVE_UINT16,
                         H5T_NATIVE_INT32, H5T_NATIVE_INT64,  H5T_NATIVE_UINT8};
  return types[int(t)];
}

DType dtype_of(hid_t dataset, const Place& at) {
  const Id type = at.id(H5Dget_type(dataset));
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

Id create_dataset(hid_t file, hid_t type, hid_t space, hid_t plan, const Place& at) {
  const Id group_plan = timeless_plan(H5P_GROUP_CREATE, at);
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
  const Id plan = timeless_plan(H5P_DATASET_CREATE, at);
  at.ok(H5Pset_fill_time(plan, H5D_FILL_TIME_NEVER));
  const Id set = create_dataset(file, type, make_space(shape, at), plan, at);
  if (numel_of(shape) > 0) at.ok(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values));
}

std::string read_text(hid_t attr, hid_t type, const Place& at) {
  if (at.ok(H5Tis_variable_str(type))) {
    char* chars = nullptr;
    at.ok(H5Aread(attr, type, &chars));
    const std::string text = chars ? chars : "";
    H5free_memory(chars);
    return text;
  }
  std::string text(H5Tget_size(type), '\0');
  at.ok(H5Aread(attr, type, text.data()));
  return text.c_str();  // without the padding
}

}  // namespace

Hdf5File Hdf5File::create(const std::string& file) {
  const std::string root = "/";
  const Place at{file, root};
  const Id access = at.id(H5Pcreate(H5P_FILE_ACCESS));
  at.ok(H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110));
  Hdf5File f;
  f.name_ = file;
  f.id_ = at.ok(H5Fcreate(file.c_str(), H5F_ACC_TRUNC, timeless_plan(H5P_FILE_CREATE, at), access));
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
  at.ok(H5Fflush(id_, H5F_SCOPE_LOCAL));
  at.ok(H5Fclose(std::exchange(id_, -1)));
}

bool Hdf5File::exists(const std::string& path) const {
  Locked lock;
  return H5Oexists_by_name(id_, path.c_str(), H5P_DEFAULT) > 0;
}

std::vector<std::string> Hdf5File::datasets(const std::string& group) const {
  const Place at{name_, group};
  std::vector<std::string> names;
  if (!exists(group)) return names;
  auto keep = [](hid_t, const char* name, const H5O_info_t* info, void* out) -> herr_t {
    if (info->type == H5O_TYPE_DATASET)
      static_cast<std::vector<std::string>*>(out)->push_back(name);
    return 0;
  };
  at.ok(
      H5Ovisit2(open_object(id_, at), H5_INDEX_NAME, H5_ITER_NATIVE, keep, &names, H5O_INFO_BASIC));
  for (auto& name : names) name = (group == "/" ? "" : group) + "/" + name;
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

Tensor Hdf5File::read(const std::string& path) const {
  const Shape whole = shape(path);
  return read_rows(path, 0, whole.empty() ? 1 : whole[0]);
}

Tensor Hdf5File::read_rows(const std::string& path, int64_t first, int64_t count) const {
  const Place at{name_, path};
  const Id set = open_dataset(id_, at), file_space = at.id(H5Dget_space(set));
  Shape part = shape_of(id_, set, at);
  if (first < 0 || count < 0 || first > (part.empty() ? 1 : part[0]) - count)
    at.fail(concat("rows ", first, " to ", first + count, " of shape ", to_string(part)));
  if (!part.empty()) part[0] = count;
  Tensor t = Tensor::empty(part, dtype_of(set, at));
  if (t.numel() == 0) return t;
  if (!part.empty()) select_rows(file_space, first, part, at);
  at.ok(
      H5Dread(set, native_type(t.dtype()), make_space(part, at), file_space, H5P_DEFAULT, t.raw()));
  return t;
}

void Hdf5File::write_bytes(const std::string& path, const std::string& bytes) {
  write_dataset(id_, H5T_NATIVE_UINT8, {int64_t(bytes.size())}, bytes.data(), {name_, path});
}

std::string Hdf5File::read_bytes(const std::string& path) const {
  const Tensor t = read(path);
  if (t.dtype() != DType::U8) Place{name_, path}.fail("holds no bytes");
  return std::string(reinterpret_cast<const char*>(t.raw()), size_t(t.numel()));
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
  write_dataset(id_, string_type(width, at), {int64_t(s.size())}, padded.data(), at);
}

std::vector<std::string> Hdf5File::read_strings(const std::string& path) const {
  const Place at{name_, path};
  const Id set = open_dataset(id_, at), type = at.id(H5Dget_type(set));
  const int64_t n = numel_of(shape_of(id_, set, at));
  if (H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type))
    at.fail("holds no text of fixed length");
  const size_t width = H5Tget_size(type);
  std::string padded(size_t(n) * width, '\0');
  at.ok(H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, padded.data()));
  std::vector<std::string> strings;
  for (size_t i = 0; i < size_t(n); ++i)
    strings.emplace_back(padded.substr(i * width, width).c_str());
  return strings;
}

void Hdf5File::write_virtual(const std::string& path, const Shape& shape, DType dtype,
                             const std::vector<VirtualSource>& sources) {
  const Place at{name_, path};
  const Id space = make_space(shape, at), plan = timeless_plan(H5P_DATASET_CREATE, at);
  // What a missing source reads as: NaN rather than a plausible zero
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const int64_t minus_one = -1;
  const bool is_float = dtype == DType::F32 || dtype == DType::F64;
  at.ok(is_float ? H5Pset_fill_value(plan, H5T_NATIVE_DOUBLE, &nan)
                 : H5Pset_fill_value(plan, H5T_NATIVE_INT64, &minus_one));
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
    const Id attr = at.id(H5Acreate2(open_object(id_, at), name.c_str(), type, make_space({}, at),
                                     H5P_DEFAULT, H5P_DEFAULT));
    at.ok(H5Awrite(attr, type, bytes));
  };
  if (const auto* text = std::get_if<std::string>(&value))
    write(string_type(text->size(), at), text->c_str());
  else if (const auto* number = std::get_if<int64_t>(&value)) write(H5T_NATIVE_INT64, number);
  else write(H5T_NATIVE_DOUBLE, std::get_if<double>(&value));
}

Attributes Hdf5File::attrs(const std::string& path) const {
  const Place at{name_, path};
  const Id object = open_object(id_, at);
  std::vector<std::string> names;
  auto keep = [](hid_t, const char* name, const H5A_info_t*, void* out) -> herr_t {
    static_cast<std::vector<std::string>*>(out)->push_back(name);
    return 0;
  };
  at.ok(H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_NATIVE, nullptr, keep, &names));
  Attributes values;
  for (const auto& name : names) {
    const Id attr = at.id(H5Aopen(object, name.c_str(), H5P_DEFAULT));
    const Id type = at.id(H5Aget_type(attr)), space = at.id(H5Aget_space(attr));
    const H5T_class_t kind = H5Tget_class(type);
    if (H5Sget_simple_extent_npoints(space) != 1) continue;
    if (kind == H5T_STRING) values[name] = read_text(attr, type, at);
    else if (kind == H5T_FLOAT)
      at.ok(H5Aread(attr, H5T_NATIVE_DOUBLE, &values[name].emplace<double>()));
    else if (kind == H5T_INTEGER || kind == H5T_ENUM)
      at.ok(H5Aread(attr, H5T_NATIVE_INT64, &values[name].emplace<int64_t>()));
  }
  return values;
}

}  // namespace switchyard
