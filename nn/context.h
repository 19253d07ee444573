// ForwardContext: everything a forward pass needs beyond its input. Created for each pass by the model;
// there is no other hidden state. The stream is [rows, d] with row b * T + t; only attention knows B and T.
#pragma once
#include <map>
#include <optional>

#include "autograd/var.h"
#include "tensor/rng.h"

namespace switchyard {

struct DecodeState;  // attention.h

// Which rows the stream has. Replaceable: a method may move rows to other ranks and back.
struct RowLayout {
  int64_t batch = 0, time = 0;  // rows = batch * time
  Tensor padding;               // u8 [rows], 1 = padding; undefined = none
};

// Of a loss that bounds a mean over all blocks: |sum of values / sum of counts - goal|.
struct Budget {
  double count, goal;
};
struct NamedLoss {
  std::string name;  // "gate"
  double weight;
  Var value;  // [1], unweighted, of this rank
  std::optional<Budget> budget = {};
};

// What a method measured in this pass: vectors by name, e.g. "decoder/1/moe/tokens_per_expert". Added up
// over micro-batches and summed over ranks by the trainer before logging.
using Statistics = std::map<std::string, std::vector<double>>;
inline void add_statistics(Statistics& total, const Statistics& more) {  // missing values are 0
  for (const auto& [name, values] : more) {
    std::vector<double>& sum = total[name];
    if (sum.size() < values.size()) sum.resize(values.size());
    for (size_t i = 0; i < values.size(); ++i) sum[i] += values[i];
  }
}

// A number or several that the device has made: a tensor until the trainer reads all of them with one wait.
struct Measured {
  std::string name;
  Tensor values;
};

// Integer decisions (routing, plans) in the order they were made. Activation checkpointing records them in
// the first pass and replays them in the second; routing can be saved and replayed the same way.
struct DecisionRecorder {
  std::vector<std::vector<int64_t>> log;
  size_t next = 0;
  bool replaying = false;
  DecisionRecorder* outer = nullptr;  // is asked before a new decision is made
  // Recording: keeps `made()` and returns it. Replaying: returns the recorded one without calling made.
  template <class F>
  std::vector<int64_t> decide(F&& made) {
    if (replaying) return log.at(next++);
    log.push_back(outer ? outer->decide(made) : made());
    return log.back();
  }
};

// Draws recorded elsewhere, for tests: site -> values. A site that is present is used instead of Philox.
using InjectedDraws = std::map<std::string, Tensor>;

struct ForwardContext {
  bool training = false;
  int64_t update = 0, micro_batch = 0;
  uint64_t seed = 1;
  int rank = 0;                   // world rank: part of the random key
  std::string path;               // where we are in the model: "decoder/3/moe"; see Scope
  RowLayout layout;               // of the stream now passing
  RowLayout source_layout;        // of the encoder output, for cross-attention
  Tensor token_ids;               // i64 [rows] of the stream
  std::vector<int32_t> group;     // of each sentence, for counting by it; empty = do not count
  DecodeState* decode = nullptr;  // set while generating
  std::vector<NamedLoss> losses;
  Statistics statistics;
  std::vector<Measured> measured;  // statistics, too
  DecisionRecorder* recorder = nullptr;
  const InjectedDraws* injected = nullptr;

  RandomStream random(const std::string& name) const {  // keyed by path/name
    return random_stream(seed, site(name), update, micro_batch, rank);
  }
  std::string site(const std::string& name) const {
    return path.empty() ? name : path + "/" + name;
  }
  void add_loss(const std::string& name, double weight, const Var& value) {
    losses.push_back({name, weight, value, {}});
  }
  void count(const std::string& name, const std::vector<double>& values) {
    add_statistics(statistics, {{site(name), values}});
  }
  void count(const std::string& name, const Tensor& values) {
    measured.push_back({site(name), values});
  }
};

// Scope s(ctx, "moe"): appends a component to ctx.path for the lifetime of s.
class Scope {
 public:
  Scope(ForwardContext& ctx, const std::string& component) : ctx_(ctx), length_(ctx.path.size()) {
    ctx.path = ctx.site(component);
  }
  ~Scope() { ctx_.path.resize(length_); }
  Scope(const Scope&) = delete;

 private:
  ForwardContext& ctx_;
  size_t length_;
};

}  // namespace switchyard
