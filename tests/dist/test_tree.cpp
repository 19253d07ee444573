// The summation tree against an explicit one, bit by bit.
#include <gtest/gtest.h>

#include <cstring>

#include "dist/tree_reduce.h"
#include "job.h"

namespace switchyard::dist {
namespace {

float oracle(const std::vector<Tensor>& x, int64_t i) {  // pairs of neighbours, level by level
  std::vector<float> level;
  for (const Tensor& t : x) level.push_back(t.data<float>()[i]);
  while (level.size() > 1) {
    std::vector<float> next;
    for (size_t k = 0; k + 1 < level.size(); k += 2) next.push_back(level[k] + level[k + 1]);
    if (level.size() % 2) next.push_back(level.back());
    level = next;
  }
  return level[0];
}

TEST(Tree, Split) {
  const int expected[] = {0, 0, 1, 2, 2, 4, 4, 4, 4, 8};
  for (int n = 2; n < 10; ++n) EXPECT_EQ(tree_split(n), expected[n]) << n;
}

TEST(Tree, EqualsTheExplicitTree) {
  for (int n : {1, 2, 3, 4, 5, 6, 7, 8, 11, 16, 33}) {
    std::vector<Tensor> x;
    for (int m = 0; m < n; ++m) x.push_back(random_tensor({5003}, uint64_t(m)));
    std::vector<TreeInput> inputs;
    for (int m = 0; m < n; ++m) inputs.push_back({m + 1, x[m].raw()});
    Tensor y = Tensor::empty({5003});
    tree_reduce(inputs, 0, n, 5003, DType::F32, Reduce::Sum, y.raw());
    for (int64_t i = 0; i < 5003; ++i) ASSERT_EQ(y.data<float>()[i], oracle(x, i)) << n << " " << i;
    Tensor mine = x[n / 2].clone();  // the result over an input
    inputs[n / 2].data = mine.raw();
    tree_reduce(inputs, 0, n, 5003, DType::F32, Reduce::Sum, mine.raw());
    ASSERT_EQ(std::memcmp(mine.raw(), y.raw(), y.bytes()), 0) << n;
  }
}

TEST(Tree, SubtreesMayBeGiven) {
  std::vector<Tensor> x;
  std::vector<TreeInput> leaves;
  for (int m = 0; m < 7; ++m) {
    x.push_back(random_tensor({100}, uint64_t(m)));
    leaves.push_back({m + 1, x[m].raw()});
  }
  Tensor part = Tensor::empty({100}), whole = Tensor::empty({100}), joined = Tensor::empty({100});
  tree_reduce(leaves, 0, 7, 100, DType::F32, Reduce::Sum, whole.raw());
  for (auto [begin, end] : {std::pair{0, 2}, {2, 4}, {0, 4}, {4, 6}, {4, 7}, {0, 7}}) {
    tree_reduce(leaves, begin, end, 100, DType::F32, Reduce::Sum, part.raw());
    std::vector<TreeInput> inputs = leaves;
    for (int m = begin; m < end; ++m) inputs[m] = {};  // unknown here
    inputs[begin] = {end, part.raw()};
    tree_reduce(inputs, 0, 7, 100, DType::F32, Reduce::Sum, joined.raw());
    EXPECT_EQ(std::memcmp(whole.raw(), joined.raw(), whole.bytes()), 0) << begin << " " << end;
  }
}

}  // namespace
}  // namespace switchyard::dist
