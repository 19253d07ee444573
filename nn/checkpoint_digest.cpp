#include "nn/checkpoint_digest.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "nn/checkpoint_files.h"

namespace switchyard {
namespace {

std::vector<std::string> datasets_of(const Hdf5File& file, const std::string& group) {
  return file.exists(group) ? file.datasets(group) : std::vector<std::string>();
}

std::string digest_of(const Hdf5File& file, const std::string& group) {
  Hash128 hash;
  for (const auto& path : datasets_of(file, group)) {
    const Shape shape = file.shape(path);
    hash.add(concat(path, "\n", name_of(file.dtype(path)), " ", to_string(shape), "\n"));
    for_rows(file, path, [&](int64_t, const Tensor& t) { hash.add(t.raw(), t.bytes()); });
  }
  return hash.hex();
}

// Floating-point numbers in order -> integers in order
template <class Int, class Float>
__int128 ordered(Float x) {
  Int bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits < 0 ? -__int128(bits & std::numeric_limits<Int>::max()) : __int128(bits);
}

template <class T>
std::string distance(T a, T b) {
  __int128 ulps = 0;
  if constexpr (std::is_same_v<T, float>) ulps = ordered<int32_t>(a) - ordered<int32_t>(b);
  else if constexpr (std::is_same_v<T, double>) ulps = ordered<int64_t>(a) - ordered<int64_t>(b);
  else return "";
  return concat(", ", uint64_t(ulps < 0 ? -ulps : ulps), " ulps apart");
}

template <class T>
std::string describe_difference(const Tensor& a, const Tensor& b, int64_t first) {
  const T *x = a.data<T>(), *y = b.data<T>();
  int64_t i = 0;
  while (std::memcmp(&x[i], &y[i], sizeof(T)) == 0) ++i;
  std::ostringstream out;
  out.precision(17);
  out << "element " << first * (a.dim(0) ? a.numel() / a.dim(0) : 0) + i << " is ";
  if constexpr (std::is_same_v<T, BFloat16>)
    out << float(x[i]) << " in A, " << float(y[i]) << " in B";
  else out << +x[i] << " in A, " << +y[i] << " in B" << distance(x[i], y[i]);
  return out.str();
}

std::string describe_difference(const Tensor& a, const Tensor& b, int64_t first) {
  switch (a.dtype()) {
    case DType::F32:
      return describe_difference<float>(a, b, first);
    case DType::F64:
      return describe_difference<double>(a, b, first);
    case DType::BF16:
      return describe_difference<BFloat16>(a, b, first);
    case DType::I32:
      return describe_difference<int32_t>(a, b, first);
    case DType::I64:
      return describe_difference<int64_t>(a, b, first);
    case DType::U8:
      return describe_difference<uint8_t>(a, b, first);
  }
  return "";
}

std::string layout(const Hdf5File& file, const std::string& path) {
  return concat(name_of(file.dtype(path)), " ", to_string(file.shape(path)));
}

}  // namespace

void for_rows(const Hdf5File& file, const std::string& path,
              const std::function<void(int64_t, const Tensor&)>& fn) {
  const Shape shape = file.shape(path);
  if (shape.empty()) return fn(0, file.read(path).reshape({1}));
  if (numel_of(shape) == 0) return;
  const int64_t row_bytes = numel_of(shape) / shape[0] * size_of(file.dtype(path));
  const int64_t step = std::max<int64_t>(1, (int64_t(64) << 20) / row_bytes);
  for (int64_t first = 0; first < shape[0]; first += step)
    fn(first, file.read_rows(path, first, std::min(step, shape[0] - first)));
}

CheckpointDigest digest(const Hdf5File& model) {
  CheckpointDigest d{digest_of(model, "/model"), digest_of(model, "/optimizer"), ""};
  d.combined = Hash128().add(d.model).add(d.optimizer).hex();
  return d;
}

void verify_datasets(const Hdf5File& model, const std::string& folder, const Manifest& manifest) {
  for (const auto& file : manifest.files)
    for (const auto& d : file.datasets) {
      const Tensor t = model.read_rows(d.path, d.first_row, d.rows);
      user_check(Hash128().add(t.raw(), t.bytes()).hex() == d.hash,
                 concat("checkpoint ", folder, " is damaged: model.h5 shows ", d.path, " rows ",
                        d.first_row, " to ", d.first_row + d.rows - 1, " with other values than ",
                        file.name, " was written with"));
    }
}

std::optional<std::string> first_difference(const Hdf5File& a, const Hdf5File& b) {
  for (const std::string group : {"/model", "/optimizer"}) {
    const auto in_a = datasets_of(a, group), in_b = datasets_of(b, group);
    std::vector<std::string> all;
    std::set_union(in_a.begin(), in_a.end(), in_b.begin(), in_b.end(), std::back_inserter(all));
    for (const auto& path : all) {
      if (!b.exists(path)) return path + ": only in A";
      if (!a.exists(path)) return path + ": only in B";
      if (layout(a, path) != layout(b, path))
        return concat(path, ": ", layout(a, path), " in A, ", layout(b, path), " in B");
      std::optional<std::string> found;
      for_rows(a, path, [&](int64_t first, const Tensor& x) {
        if (found) return;
        const Tensor y =
            b.shape(path).empty() ? b.read(path).reshape({1}) : b.read_rows(path, first, x.dim(0));
        if (std::memcmp(x.raw(), y.raw(), size_t(x.bytes())) != 0)
          found = path + ": " + describe_difference(x, y, first);
      });
      if (found) return found;
    }
  }
  return std::nullopt;
}

}  // namespace switchyard
