// manifest.json, the last file of a checkpoint: size and XXH3-128 of every file and of itself, and where in
// its file each dataset lies with its own hash. So files are verified, and the damaged dataset is named,
// before HDF5 reads a byte: damage can make that library crash.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace switchyard {

struct StoredDataset {
  std::string path;
  int64_t first_row = 0, rows = 0;  // of the whole that model.h5 shows
  int rank = 0;                     // who held it when it was written
  int64_t offset = -1, bytes = 0;   // in the file
  std::string hash;
};

struct StoredFile {
  std::string name;
  int64_t size = 0;
  std::string hash;
  std::vector<StoredDataset> datasets;  // of a shard
};

struct Manifest {
  int64_t update = 0,
          sequence = 0;  // sequence counts the checkpoints of a folder: the newest has the largest
  std::vector<StoredFile> files;

  std::string to_text() const;
  static Manifest read(const std::string& step_folder);  // UserError unless whole
};

// One process's files as text, for the rank that writes the manifest
std::string to_text(const std::vector<StoredFile>& files);
std::vector<StoredFile> files_from_text(const std::string& text);

// Size and hash of every file; UserError names the first bad file and its first damaged dataset.
void verify_files(const std::string& step_folder, const Manifest& manifest);

}  // namespace switchyard
