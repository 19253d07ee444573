// A small HMoE block for tests, with parameters that do not depend on the number of ranks.
#pragma once
#include "autograd/ops.h"
#include "dist/runtime.h"
#include "moe/methods/hmoe.h"

namespace switchyard::moe {

constexpr int64_t kM = 8, kF = 12;

inline Tensor normal(Shape shape, uint64_t seed, DType dtype = DType::F64, double stddev = 1) {
  Tensor t = Tensor::empty(std::move(shape), dtype);
  random_normal(random_stream(seed, "test"), 0, stddev, t);
  return t;
}
inline std::vector<double> doubles(const Tensor& t) { return t.to(DType::F64).to_vector<double>(); }

inline HmoeConfig config_of(int experts, int layers, const std::string& strata = "") {
  HmoeConfig c;
  c.moe_expert_count = experts;
  c.hmoe_layer = layers;
  c.hmoe_dynamic = strata;
  c.gate.policy = "all";
  c.gate.fp32 = false;
  return c;
}

// A block with parameters that do not depend on the rank count; gates are scaled up so that choices differ.
inline std::unique_ptr<HmoeBlock> block_of(const HmoeConfig& c, const dist::Comm& world,
                                           FeedForwardOptions ffn = {.dtype = DType::F64},
                                           double dropout = 0) {
  ffn.width = kM, ffn.hidden = kF;
  validate(c, world.size());
  auto block =
      std::make_unique<HmoeBlock>(c, ffn, dropout, 0, dist::make_mesh(world, c.moe_expert_count));
  initialize(*block, 5);
  for (NamedParam& p : parameters(*block))
    if (p.path.find("gate") != std::string::npos) {
      Tensor w = p.param->var.data();
      scale(4, w, w);
    }
  return block;
}

inline Param& param_of(Module& m, const std::string& path) {
  for (NamedParam& p : parameters(m))
    if (p.path == path) return *p.param;
  throw Error("no parameter " + path);
}

inline void on_one_rank(const std::function<void(const dist::Comm&)>& fn) {
  dist::run_ranks(1, [&](dist::Runtime& rt) { fn(rt.world); });
}

}  // namespace switchyard::moe
