// One micro-batch of a rank for translation, and where the data iterator stands.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace switchyard {

// Ids of specs/hmoe 4.2.
inline constexpr int64_t kBos = 0, kPad = 1, kEos = 2, kUnk = 3;

struct TranslationBatch {
  int64_t sentences = 0, source_time = 0, target_time = 0;  // all 0: a dummy batch of an idle rank
  Tensor source;             // i64 [B, Ts]: __tgt__ pieces </s>, left-padded
  Tensor decoder_input;      // i64 [B, Tt]: </s> __tgt__ pieces, right-padded (target rotated)
  Tensor target;             // i64 [B, Tt]: __tgt__ pieces </s>, right-padded with kPad
  std::vector<int64_t> ids;  // per sentence: index inside its direction's split
  std::vector<int32_t> direction;  // per sentence: index into the corpus' directions
  int64_t target_tokens = 0;       // non-pad targets
  int64_t source_tokens = 0;
};

// Position of the training data: a pure function of it, seed, data and R gives every later batch.
struct DataPosition {
  int64_t epoch = 0;
  int64_t batch = 0;  // global micro-batches consumed of this epoch (all ranks together)
};

}  // namespace switchyard
