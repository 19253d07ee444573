// Mesh, gradient sums and the global norm.
#include <gtest/gtest.h>

#include <cmath>

#include "job.h"

namespace switchyard::dist {
namespace {

TEST(Mesh, Layouts) {
  EXPECT_THROW(expert_layout(6, 4), UserError);
  EXPECT_THROW(expert_layout(0, 4), UserError);
  const ExpertLayout many = expert_layout(8, 4);
  EXPECT_EQ(many.num_local(), 2);
  EXPECT_EQ(many.first_expert(3), 6);
  EXPECT_EQ(many.replicas(), 1);
  const ExpertLayout few = expert_layout(2, 8);
  EXPECT_EQ(few.group_size(), 2);
  EXPECT_EQ(few.replicas(), 4);
  EXPECT_EQ(few.first_expert(5), 1);
  run_ranks(8, [](Runtime& rt) {
    const int me = rt.world.rank();
    const Mesh mesh = make_mesh(rt.world, 2);
    check(mesh.expert.size() == 2 && mesh.expert.rank() == me % 2, "expert");
    check(mesh.replicas.size() == 4 && mesh.replicas.rank() == me / 2, "replicas");
    check(mesh.expert.world_rank(0) == me / 2 * 2, "neighbours exchange");
    check(mesh.replicas.world_rank(1) == me % 2 + 2, "replicas are a group apart");
  });
}

TEST(GradSync, SumsAndNorm) {
  for (int experts : {2, 4, 8}) {
    run_ranks(4, [&](Runtime& rt) {
      const int me = rt.world.rank();
      const Mesh mesh = make_mesh(rt.world, experts);
      const int64_t local = mesh.layout.num_local(), first = mesh.layout.first_expert(me);
      // Replicated: every rank's share is 1. Expert e: e + 1 on each replica.
      std::vector<GradEntry> entries = {{Tensor::full({2000000}, 1), false},
                                        {Tensor::empty({local, 5000}), true},
                                        {Tensor::full({10}, 1), false},
                                        {Tensor::full({3, 3}, 1, DType::F64), false},
                                        {Tensor::zeros({0}), false}};
      for (int64_t i = 0; i < entries[1].grad.numel(); ++i) {
        entries[1].grad.data<float>()[i] = float(first + i / 5000 + 1);
      }
      sync_gradients(mesh, entries);
      const double copies = mesh.layout.replicas();
      check(entries[0].grad.data<float>()[1999999] == 4 && entries[2].grad.data<float>()[9] == 4,
            "sum");
      check(entries[3].grad.data<double>()[8] == 4, "f64 sum");
      check(entries[1].grad.data<float>()[0] == float(copies * double(first + 1)), "replicas");
      double squares = 16.0 * (2000000 + 10 + 9);
      for (int e = 0; e < experts; ++e) squares += 5000.0 * std::pow(copies * (e + 1), 2);
      const double norm = gradient_norm(mesh.expert, entries);
      check(std::abs(norm - std::sqrt(squares)) < 1e-9 * norm, "norm");
    });
  }
}

// The norm has one canonical order: the same bits with 1, 2 and 4 ranks holding the same experts.
TEST(GradSync, NormDoesNotDependOnTheLayout) {
  double one = 0;
  for (int ranks : {1, 2, 4}) {
    run_ranks(ranks, [&](Runtime& rt) {
      const Mesh mesh = make_mesh(rt.world, 4);
      const int64_t local = mesh.layout.num_local(),
                    first = mesh.layout.first_expert(rt.world.rank());
      const Tensor all = random_tensor({4, 9001}, 1);
      const std::vector<GradEntry> entries = {{random_tensor({50, 333}, 2), false},
                                              {all.slice(first, first + local), true},
                                              {random_tensor({8193}, 3), false}};
      const double norm = gradient_norm(mesh.expert, entries);
      if (rt.world.size() == 1) one = norm;
      check(norm == one, "norms differ");
    });
  }
}

}  // namespace
}  // namespace switchyard::dist
