// The numbers that ranks share once an update, in one message: sums of the loss, tokens, and the flags
// (stop asked, checkpoint shard on disk) on which all ranks must decide alike.
#pragma once
#include <vector>

#include "apps/common/train_task.h"
#include "dist/comm.h"

namespace switchyard {

struct StepNumbers {
  double targets = 0, sources = 0, sentences = 0, loss = 0, nll = 0;
  double stop = 0, shards_done = 0;
  std::vector<double> auxiliary;

  explicit StepNumbers(size_t auxiliary_losses = 0) : auxiliary(auxiliary_losses) {}
  void add(const MicroBatch& m) {
    targets += m.targets, sources += m.sources, sentences += m.sentences;
    loss += m.loss_sum, nll += m.nll_sum;
    for (size_t i = 0; i < auxiliary.size(); ++i) auxiliary[i] += m.auxiliary[i];
  }
  // Fixed tree over ranks: the same digits at every process count.
  StepNumbers sum_over(const dist::Comm& world) const {
    std::vector<double> v{targets, sources, sentences, loss, nll, stop, shards_done};
    v.insert(v.end(), auxiliary.begin(), auxiliary.end());
    Tensor t = Tensor::of(v);
    world.all_reduce(t);
    const double* p = t.data<double>();
    StepNumbers s(auxiliary.size());
    s.targets = p[0], s.sources = p[1], s.sentences = p[2], s.loss = p[3], s.nll = p[4];
    s.stop = p[5], s.shards_done = p[6];
    for (size_t i = 0; i < auxiliary.size(); ++i) s.auxiliary[i] = p[7 + i];
    return s;
  }
};

}  // namespace switchyard
