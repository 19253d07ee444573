// Walks over the parameters of a module tree, and their first values.
#include "nn/module.h"

#include <algorithm>

#include "tensor/kernels.h"

namespace switchyard {

Param make_param(Shape shape, Init init, DType dtype) {
  return {.var = Var(Tensor::zeros(std::move(shape), dtype), true), .init = init};
}

Param make_expert_param(Shape local_shape, Init init, int64_t first_row, int64_t global_rows,
                        DType dtype) {
  check(first_row >= 0 && first_row + local_shape.at(0) <= global_rows,
        concat("expert rows ", first_row, " + ", local_shape[0], " exceed ", global_rows));
  Param p = make_param(std::move(local_shape), init, dtype);
  p.placement = Placement::ExpertSharded;
  p.first_row = first_row;
  p.global_rows = global_rows;
  return p;
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
  std::sort(all.begin(), all.end(), [](auto& a, auto& b) { return a.path < b.path; });
  for (size_t i = 1; i < all.size(); ++i)
    check(all[i].path != all[i - 1].path, "two parameters have the path " + all[i].path);
  return all;
}

// Element i of a parameter is draw i of the stream (seed, path), i counted in the whole tensor: an expert
// starts equal wherever it lives, and no rank needs the others' experts.
void initialize(Module& m, uint64_t seed) {
  for (auto& [path, p] : parameters(m)) {
    Tensor t = Tensor::empty(p->var.shape(), p->var.data().dtype());
    const int64_t first = p->first_row * (t.numel() / std::max<int64_t>(t.dim(0), 1));
    const RandomStream stream = random_stream(seed, "init/" + path);
    const Init& init = p->init;
    if (init.kind == Init::Uniform) random_uniform(stream, first, -init.a, init.a, t);
    else if (init.kind == Init::Normal) random_normal(stream, first, init.a, t);
    else fill(init.kind == Init::Ones, t);
    if (init.zero_row >= 0) {
      Tensor padding = t.slice(init.zero_row, init.zero_row + 1);
      fill(0, padding);
    }
    p->var.set_data(t);
  }
}

int64_t parameter_count(Module& m, bool global) {
  int64_t count = 0;
  for (auto& [path, p] : parameters(m))
    count += numel_of(global ? p->global_shape() : p->var.shape());
  return count;
}

}  // namespace switchyard
