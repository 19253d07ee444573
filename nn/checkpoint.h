// Checkpoints (design 7): a folder step_00001000/ with one shard per writing process, model.h5 as an index
// of virtual datasets over the shards, and manifest.json, written last. A crash at any instant leaves the
// previous checkpoint whole; any change of any byte is refused; it loads at any number of processes.
//   checkpoint_writer.cpp  all ranks: who writes what, one process's files, publish, links, pruning
//   checkpoint_read.cpp    verify, find, load, compare
//   checkpoint_files.h     files that survive a crash
#pragma once
#include <atomic>
#include <future>
#include <set>

#include <nlohmann/json.hpp>

#include "dist/runtime.h"
#include "nn/optimizer.h"
#include "tensor/hdf5.h"

namespace switchyard {

// One tensor of a rank under its path in model.h5. Writing and loading take the same list.
struct CheckpointEntry {
  std::string path;       // "/model/decoder/3/moe/experts/fc1/weight", "/optimizer/m/...", ...
  Tensor tensor;          // this rank's part; loading fills it in place
  Shape whole;            // of all ranks
  int64_t first_row = 0;  // of the whole
};
// The parameters of a model under /model; their moments and steps under /optimizer, if there is one
std::vector<CheckpointEntry> checkpoint_entries(const std::vector<NamedParam>& params,
                                                Optimizer* optimizer = nullptr);

struct Snapshot {
  int64_t update = 0;
  std::vector<CheckpointEntry> tensors;  // every rank's own
  // Of these, rank 0's are written.
  Attributes state;                     // of the group /state
  std::string config, tokenizer;        // shown as /config (TOML) and /tokenizer
  std::vector<std::string> vocabulary;  // shown as /vocabulary
};

// Writes the checkpoints of a run into `folder`. Every rank has one and makes the same calls. begin() starts
// a checkpoint, finish() completes it. Asynchronous: begin() copies the tensors, and one thread of each
// process writes them without any communication; when every rank's shard_done() is true (the trainer sends
// that along with its step's numbers), finish() need not wait. At most one checkpoint is under way.
class CheckpointWriter {
 public:
  // keep > 0: so many newest checkpoints stay, and those that links name. Removes what a crash left behind.
  CheckpointWriter(std::string folder, const dist::Runtime& runtime, bool asynchronous,
                   int keep = 0);
  ~CheckpointWriter() { cancelled_ = true; }  // gives up a checkpoint; files_ waits for its thread

  // Collective. best: checkpoint_best moves, too. Synchronous: finish() must follow at once.
  void begin(const Snapshot& snapshot, bool best = false);
  bool in_flight() const { return in_flight_; }  // equal on all ranks
  bool shard_done() const;                       // this process; no communication
  std::string finish();  // collective; "" or why there is no new checkpoint, equal on all ranks

 private:
  std::string failure(bool runs, const std::function<void()>& fn) const;
  void publish(const std::vector<std::string>& files) const;

  std::string folder_;
  dist::Runtime runtime_;
  bool asynchronous_;
  int keep_;
  bool in_flight_ = false, best_ = false;
  int64_t update_ = -1;
  std::string temporary_;  // folder of the checkpoint under way
  std::string error_;      // of begin(), for finish()
  std::atomic<bool> cancelled_ = false;
  std::future<std::string> files_;  // of this process, with its first rank: StoredFiles as JSON
};

// manifest.json, the last file of a checkpoint: size and XXH3-128 of every file and of itself, and where in
// its file each dataset lies with its own hash. So files are verified, and the damaged dataset is named,
// before HDF5 reads a byte: damage can make that library crash.
//
// Rows of a dataset: described by the ranks that hold them, written by one, and listed in the manifest
struct CheckpointPiece : CheckpointEntry {  // its tensor: while it is written
  DType dtype = DType::F32;
  int64_t rows = 0;
  int rank = 0;                    // who writes it
  int64_t bytes = 0, offset = -1;  // in the shard; until then: address of the rank's tensor
  std::string xxh3_128;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(CheckpointPiece, path, whole, dtype, first_row, rows, rank,
                                   bytes, offset, xxh3_128)

struct StoredFile {
  std::string name;
  int64_t size = 0;
  std::string xxh3_128;
  std::vector<CheckpointPiece> datasets;  // of a shard
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(StoredFile, name, size, xxh3_128, datasets)

struct Manifest {
  std::string format = "switchyard checkpoint";
  int version = 3;
  int64_t update = 0;
  int64_t sequence = 0;  // counts the checkpoints of a folder: the newest has the largest
  std::vector<StoredFile> files = {};
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Manifest, format, version, update, sequence, files)

// The manifest covers itself: it holds size and hash of the text that it would be without these two, and is
// that text again when it is written anew.
std::string to_text(nlohmann::json manifest);
Manifest read_manifest(const std::string& step_folder);  // UserError unless whole

// Size and hash of every file; UserError names the first bad file and its first damaged dataset.
// Returns the folder.
std::string verify_files(const std::string& step_folder);

std::string step_folder_name(int64_t update);  // "step_00001000"
// Sequence number and full path, newest first. A damaged manifest counts as kDamaged.
constexpr int64_t kDamaged = INT64_MAX;
using StepFolders = std::set<std::pair<int64_t, std::string>, std::greater<>>;
StepFolders step_folders(const std::string& checkpoints);

struct FoundCheckpoint {
  std::string folder;                 // empty: "latest" found none
  std::vector<std::string> warnings;  // damaged ones that were passed over
};
// what: "latest" (the newest whole one), "best", or a path (resolve_checkpoint). The result is verified.
FoundCheckpoint find_checkpoint(const std::string& checkpoints, const std::string& what);
// A step folder, a run's checkpoints folder or its save-dir -> the step folder
std::string resolve_checkpoint(const std::string& path);

Hdf5File open_checkpoint(const std::string& step_folder, bool verify = true);  // its model.h5
// Fills the tensors from a verified checkpoint. Missing, extra (in the groups that `into` names) and
// misshapen ones are one UserError that lists them all.
void load_checkpoint(const std::string& step_folder, const std::vector<CheckpointEntry>& into);

// Hashes over (path, dtype, shape, bytes) of all datasets in path order: they do not depend on who wrote it.
struct CheckpointDigest {
  std::string model, optimizer, combined;  // combined: hash of the two
};
CheckpointDigest digest(const Hdf5File& model);
// "/model/x: element 17 is 0.25 in A, 0.5 in B, 8388608 ulps apart"; empty when all tensors are equal
std::string first_difference(const Hdf5File& a, const Hdf5File& b);

}  // namespace switchyard
