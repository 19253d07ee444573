// manifest.json, the last file of a checkpoint: size and XXH3-128 of every file and of itself, and where in
// its file each dataset lies with its own hash. So files are verified, and the damaged dataset is named,
// before HDF5 reads a byte: damage can make that library crash.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "nn/checkpoint_plan.h"

namespace switchyard {

struct StoredFile {
  std::string name;
  int64_t size = 0;
  std::string xxh3_128;
  std::vector<CheckpointPiece> datasets;  // of a shard
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(StoredFile, name, size, xxh3_128, datasets)

struct Manifest {
  int64_t update = 0;
  int64_t sequence = 0;  // counts the checkpoints of a folder: the newest has the largest
  std::vector<StoredFile> files;

  std::string to_text() const;
  static Manifest read(const std::string& step_folder);  // UserError unless whole
};

// Size and hash of every file; UserError names the first bad file and its first damaged dataset.
// Returns the folder.
std::string verify_files(const std::string& step_folder);

}  // namespace switchyard
