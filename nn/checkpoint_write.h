// One process's part of a checkpoint: its shard, and in the first process the index model.h5. Plain file
// work without communication, so that a background thread can do it.
#pragma once
#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include "nn/checkpoint.h"
#include "nn/checkpoint_manifest.h"
#include "nn/checkpoint_plan.h"

namespace switchyard {

std::string shard_name(int process);  // "shard_00003.h5"

// Writes and flushes a shard. `cancelled` is looked at between tensors.
StoredFile write_shard(const std::string& folder, int process,
                       const std::vector<std::pair<CheckpointPiece, Tensor>>& pieces,
                       const std::atomic<bool>& cancelled);

// model.h5: virtual datasets over the shards; state, config, tokenizer of the snapshot.
StoredFile write_index(const std::string& folder, const std::vector<CheckpointPiece>& plan,
                       const Snapshot& snapshot, const dist::Runtime& runtime);

}  // namespace switchyard
