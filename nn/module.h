// Module: a piece of a model that owns parameters. One enumeration, visit(), serves initialisation,
// optimizer, gradient sync, checkpoint and parameter count; names are paths and equal the HDF5 groups.
#pragma once
#include <algorithm>
#include <cmath>

#include "autograd/var.h"
#include "tensor/kernels.h"

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
  Shape global_shape() const {
    Shape s = var.shape();
    if (placement == Placement::ExpertSharded) s[0] = global_rows;
    return s;
  }
};

inline Param make_param(const Shape& shape, Init init, DType dtype = DType::F32) {
  return {Var(Tensor::zeros(shape, dtype), true), Placement::Replicated, init};
}
inline Param make_expert_param(const Shape& local, Init init, int64_t first_row,
                               int64_t global_rows, DType dtype = DType::F32) {
  const Var var(Tensor::zeros(local, dtype), true);
  return {var, Placement::ExpertSharded, init, first_row, global_rows};
}

class ParamVisitor;
struct Module {
  virtual ~Module() = default;
  virtual void visit(ParamVisitor& v) = 0;
};

struct NamedParam {
  std::string path;
  Param* param;
};

// Walks a module tree, giving each parameter its path: "decoder/3/moe/experts/fc1/weight".
class ParamVisitor {
 public:
  std::vector<NamedParam> found;
  void operator()(const std::string& name, Param& p) { found.push_back({prefix_ + name, &p}); }
  void operator()(const std::string& name, Module& child) {  // its names follow name + "/"
    const size_t length = prefix_.size();
    prefix_ += name + "/";
    child.visit(*this);
    prefix_.resize(length);
  }

 private:
  std::string prefix_;
};

inline std::vector<NamedParam> parameters(Module& m) {  // sorted by path, each once
  ParamVisitor visitor;
  m.visit(visitor);
  std::ranges::sort(visitor.found, {}, &NamedParam::path);
  const auto twice = std::ranges::adjacent_find(visitor.found, {}, &NamedParam::path);
  if (twice != visitor.found.end()) throw Error("two parameters have the path " + twice->path);
  return std::move(visitor.found);
}

// Draws the Init of every parameter. Element i is draw i of the stream (seed, path), i counted in the whole
// tensor: an expert starts equal wherever it lives, and no rank needs the others' experts.
inline void initialize(Module& m, uint64_t seed) {
  for (auto& [path, p] : parameters(m)) {
    p->var.data_changed();
    Tensor t = p->var.data();
    const Init& init = p->init;
    const int64_t first = p->first_row * (t.numel() / t.dim(0));
    const RandomStream stream = random_stream(seed, "init/" + path);
    if (init.kind == Init::Uniform) random_uniform(stream, first, -init.a, init.a, t);
    else if (init.kind == Init::Normal) random_normal(stream, first, init.a, t);
    else fill(init.kind == Init::Ones, t);
    if (init.zero_row < 0) continue;
    Tensor padding = t.slice(init.zero_row, init.zero_row + 1);
    fill(0, padding);
  }
}

// Moves the parameters; before anything holds them (optimizer, checkpoint entries).
inline void move_to(Module& m, Device device) {
  for (auto& [path, p] : parameters(m)) p->var = Var(p->var.data().to(device), true);
}

// Of all ranks' experts, or with those held here
inline int64_t parameter_count(Module& m, bool global = true) {
  int64_t count = 0;
  for (auto& [path, p] : parameters(m))
    count += numel_of(global ? p->global_shape() : p->var.shape());
  return count;
}

}  // namespace switchyard
