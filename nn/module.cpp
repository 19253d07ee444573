// Walks over the parameters of a module tree, and their first values.
#include "nn/module.h"

#include <algorithm>

#include "tensor/kernels.h"

namespace switchyard {

Shape Param::global_shape() const {
  Shape s = var.shape();
  if (placement == Placement::ExpertSharded) s[0] = global_rows;
  return s;
}

Param make_param(Shape shape, Init init, DType dtype) {
  return {Var(Tensor::zeros(std::move(shape), dtype), true), Placement::Replicated, init};
}

Param make_expert_param(Shape local_shape, Init init, int64_t first_row, int64_t global_rows,
                        DType dtype) {
  return {Var(Tensor::zeros(std::move(local_shape), dtype), true), Placement::ExpertSharded, init,
          first_row, global_rows};
}

void ParamVisitor::operator()(const std::string& name, Module& child) {
  const size_t length = prefix_.size();
  prefix_ += name + "/";
  child.visit(*this);
  prefix_.resize(length);
}

std::vector<NamedParam> parameters(Module& m) {
  std::vector<NamedParam> all;
  ParamVisitor visitor([&](const std::string& path, Param& p) { all.push_back({path, &p}); });
  m.visit(visitor);
  std::ranges::sort(all, {}, &NamedParam::path);
  const auto twice = std::ranges::adjacent_find(all, {}, &NamedParam::path);
  if (twice != all.end()) throw Error("two parameters have the path " + twice->path);
  return all;
}

// Element i of a parameter is draw i of the stream (seed, path), i counted in the whole tensor: an expert
// starts equal wherever it lives, and no rank needs the others' experts.
void initialize(Module& m, uint64_t seed) {
  for (auto& [path, p] : parameters(m)) {
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

int64_t parameter_count(Module& m, bool global) {
  int64_t count = 0;
  for (auto& [path, p] : parameters(m))
    count += numel_of(global ? p->global_shape() : p->var.shape());
  return count;
}

}  // namespace switchyard
