// Module: a piece of a model that owns parameters. One enumeration, visit(), serves initialisation,
// optimizer, gradient sync, checkpoint and parameter count; names are paths and equal the HDF5 groups.
#pragma once
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "autograd/var.h"

namespace switchyard {

// Given where the Param is created, never patched
enum class Placement { Replicated, ExpertSharded };

// Distribution of the initial values; drawn at (seed, path, global element index). specs/hmoe.md 2.11.
struct Init {
  enum Kind { Zeros, Ones, Uniform, Normal } kind = Zeros;
  double a = 0;           // Uniform: U(-a, a); Normal: standard deviation
  int64_t zero_row = -1;  // this row is set to zero (padding row of an embedding)
};
// Xavier (Glorot & Bengio 2010): U(-a, a), a = gain sqrt(6 / (fan_in + fan_out))
inline Init xavier_uniform(int64_t fan_in, int64_t fan_out, double gain = 1.0) {
  return {Init::Uniform, gain * std::sqrt(6.0 / double(fan_in + fan_out))};
}
inline Init fan_in_uniform(int64_t fan_in) {
  return {Init::Uniform, 1.0 / std::sqrt(double(fan_in))};
}

struct Param {
  Var var;  // the leaf: data() and accumulated grad()
  Placement placement = Placement::Replicated;
  Init init;
  // ExpertSharded: data is [local, ...], rows first_row .. first_row + local - 1 of [global_rows, ...]
  int64_t first_row = 0, global_rows = 0;
  Shape global_shape() const;
};

Param make_param(Shape shape, Init init, DType dtype = DType::F32);
Param make_expert_param(Shape local_shape, Init init, int64_t first_row, int64_t global_rows,
                        DType dtype = DType::F32);

class ParamVisitor;
struct Module {
  virtual ~Module() = default;
  virtual void visit(ParamVisitor& v) = 0;
};

// Walks a module tree, giving each parameter its path: "decoder/3/moe/experts/fc1/weight".
class ParamVisitor {
 public:
  explicit ParamVisitor(std::function<void(const std::string& path, Param&)> fn)
      : fn_(std::move(fn)) {}
  void operator()(const std::string& name, Param& p) { fn_(prefix_ + name, p); }
  void operator()(const std::string& name, Module& child);  // its names follow name + "/"

 private:
  std::function<void(const std::string&, Param&)> fn_;
  std::string prefix_;
};

struct NamedParam {
  std::string path;
  Param* param;
};
std::vector<NamedParam> parameters(Module& m);           // sorted by path, each once
void initialize(Module& m, uint64_t seed);               // Init of every parameter
int64_t parameter_count(Module& m, bool global = true);  // all ranks' experts, or those held here

}  // namespace switchyard
