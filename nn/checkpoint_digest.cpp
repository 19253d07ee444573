#include "nn/checkpoint_digest.h"

#include <algorithm>
#include <bit>
#include <iomanip>
#include <set>

#include "nn/checkpoint_files.h"

namespace switchyard {
namespace {

std::string digest_of(const Hdf5File& file, const std::string& group) {
  Hash128 hash;
  for (const auto& path : file.datasets(group)) {
    hash.add(concat(path, "\n", layout(file, path), "\n"));
    for_rows(file, path, [&](int64_t, const Tensor& t) { hash.add(t.raw(), t.bytes()); });
  }
  return hash.hex();
}

// Floats in order -> integers in order
int64_t ordered(float x) {
  const auto bits = std::bit_cast<int32_t>(x);
  return bits < 0 ? -int64_t(bits & INT32_MAX) : bits;
}

// "" when equal; `first`: the global index of element 0
std::string first_difference(const Tensor& x, const Tensor& y, int64_t first) {
  const int64_t at = std::mismatch(x.raw(), x.raw() + x.bytes(), y.raw()).first - x.raw();
  if (at == x.bytes()) return "";
  const int64_t i = at / size_of(x.dtype());
  const double a = x.to(DType::F64).data<double>()[i], b = y.to(DType::F64).data<double>()[i];
  std::string text =
      concat(std::setprecision(17), "element ", first + i, " is ", a, " in A, ", b, " in B");
  if (x.dtype() == DType::F32)
    text += concat(", ", std::abs(ordered(float(a)) - ordered(float(b))), " ulps apart");
  return text;
}

}  // namespace

std::string layout(const Hdf5File& file, const std::string& path) {
  return concat(name_of(file.dtype(path)), " ", to_string(file.shape(path)));
}

void for_rows(const Hdf5File& file, const std::string& path,
              const std::function<void(int64_t, const Tensor&)>& fn) {
  const Shape shape = file.shape(path);
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

std::string first_difference(const Hdf5File& a, const Hdf5File& b) {
  std::set<std::string> paths;
  for (const Hdf5File* file : {&a, &b})
    for (const char* group : {"/model", "/optimizer"})
      for (const auto& path : file->datasets(group)) paths.insert(path);
  for (const auto& path : paths) {
    if (!a.exists(path) || !b.exists(path))
      return concat(path, ": only in ", a.exists(path) ? "A" : "B");
    if (layout(a, path) != layout(b, path))
      return concat(path, ": ", layout(a, path), " in A, ", layout(b, path), " in B");
    std::string found;
    for_rows(a, path, [&](int64_t first, const Tensor& x) {
      if (!found.empty()) return;
      const Tensor y = b.read_rows(path, first, x.dim(0));
      found = first_difference(x, y, first * (x.numel() / x.dim(0)));
    });
    if (!found.empty()) return path + ": " + found;
  }
  return "";
}

}  // namespace switchyard
