// Golden fixtures: HDF5 files recorded from the reference implementations. All files of a prefix are
// found in the folder SWITCHYARD_FIXTURES names, else in the project's own copy; sizes and options come
// from the files' attributes, never from the code. specs/hmoe.md 8.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "tensor/hdf5.h"

namespace switchyard::fixtures {

inline std::filesystem::path folder() {
  const char* other = std::getenv("SWITCHYARD_FIXTURES");
  return other && *other ? other : SWITCHYARD_FIXTURES_DEFAULT;
}

// Paths of all files <prefix>*.h5, sorted.
inline std::vector<std::string> files(const std::string& prefix) {
  std::vector<std::string> found;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(folder(), none)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind(prefix, 0) == 0 && entry.path().extension() == ".h5")
      found.push_back(entry.path().string());
  }
  std::sort(found.begin(), found.end());
  return found;
}

// Test name of a file: its stem with only letters, digits and _.
inline std::string test_name(const std::string& path) {
  std::string name = std::filesystem::path(path).stem().string();
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  return name;
}

class Fixture {
 public:
  explicit Fixture(const std::string& path) : file_(Hdf5File::open(path)) {}

  bool has(const std::string& path) const { return file_.exists(path); }
  std::string kind() const { return file_.attr<std::string>("/", "kind"); }
  bool has_opt(const std::string& name) const { return file_.attrs("/").count("opt." + name) > 0; }
  int64_t opt(const std::string& name, int64_t otherwise) const {
    return int64_t(opt(name, double(otherwise)));
  }
  double opt(const std::string& name, double otherwise) const {
    if (!has_opt(name)) return otherwise;
    const auto value = file_.attrs("/").at("opt." + name);
    const auto* integer = std::get_if<int64_t>(&value);
    return integer ? double(*integer) : std::get<double>(value);
  }
  std::string opt(const std::string& name, const char* otherwise) const {
    return has_opt(name) ? file_.attr<std::string>("/", "opt." + name) : otherwise;
  }
  // Options that are not in `known`: a test that ignored one would compare apples with pears.
  std::string unknown_options(const std::set<std::string>& known) const {
    std::string names;
    for (const auto& [a, value] : file_.attrs("/"))
      if (a.rfind("opt.", 0) == 0 && !known.count(a.substr(4))) names += a.substr(4) + " ";
    return names;
  }

  Shape shape(const std::string& path) const { return file_.shape(path); }
  DType stored(const std::string& path) const { return file_.dtype(path); }
  Tensor get(const std::string& path, DType dtype) const { return file_.read(path).to(dtype); }
  std::vector<double> values(const std::string& path) const {
    return file_.read(path).to(DType::F64).to_vector<double>();
  }
  double value(const std::string& path) const { return values(path).at(0); }

 private:
  Hdf5File file_;
};

// Collects what differs: one line for each array, with the worst element.
struct Differences {
  std::vector<std::string> lines;

  void expect(bool ok, const std::string& what) {
    if (!ok) lines.push_back(what);
  }
  void close(const std::string& what, const std::vector<double>& got,
             const std::vector<double>& want,
             double tolerance) {  // |got - want| <= tolerance * max(1, |want|); 0 = exact
    if (got.size() != want.size()) {
      lines.push_back(concat(what, ": ", got.size(), " values, expected ", want.size()));
      return;
    }
    double worst = -1;
    size_t at = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      const double d = std::abs(got[i] - want[i]) / std::max(1.0, std::abs(want[i]));
      if (!(d <= worst)) worst = d, at = i;
      if (std::isnan(d)) break;
    }
    if (!got.empty() && !(worst <= tolerance))
      lines.push_back(
          concat(what, "[", at, "]: got ", got[at], ", expected ", want[at], ", off by ", worst));
  }
};

// Tolerances of specs/hmoe.md 7.
struct Tolerance {
  DType dtype;
  double output(DType stored) const {
    return dtype == DType::F32 ? 2e-5 : stored == DType::F32 ? 1e-6 : 1e-9;
  }
  double gradient(DType stored) const { return dtype == DType::F32 ? 2e-4 : output(stored); }
};

}  // namespace switchyard::fixtures
