// Checkpoints (design 7): a folder step_00001000/ with one shard per writing process, model.h5 as an index
// of virtual datasets over the shards, and manifest.json, written last. A crash at any instant leaves the
// previous checkpoint whole; any change of any byte is refused; it loads at any number of processes.
//   checkpoint_plan.cpp      the lists of a model and its optimizer; which rank writes which rows
//   checkpoint_writer.cpp    all ranks: snapshot, one process's files, publish, links, pruning
//   checkpoint_read.cpp      find, verify, load
//   checkpoint_manifest.cpp  sizes and hashes;  checkpoint_digest.cpp: one hash of a model
#pragma once
#include <atomic>
#include <functional>
#include <future>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "dist/runtime.h"
#include "nn/module.h"
#include "nn/optimizer.h"
#include "tensor/hdf5.h"

namespace switchyard {

struct StoredFile;

// One tensor of a rank under its path in model.h5. Writing and loading take the same list.
struct CheckpointEntry {
  std::string path;  // "/model/decoder/3/moe/experts/fc1/weight", "/optimizer/m/...", "/state/..."
  Tensor tensor;     // this rank's part; loading fills it in place
  Placement placement = Placement::Replicated;
  int64_t first_row = 0, global_rows = 0;  // ExpertSharded: as in Param
};
// The parameters of a model under /model
std::vector<CheckpointEntry> model_entries(const std::vector<NamedParam>& params);
// Moments and steps of the same parameters under /optimizer. The steps are copies: after loading,
// take_steps() hands them to the optimizer.
std::vector<CheckpointEntry> optimizer_entries(const std::vector<NamedParam>& params,
                                               Optimizer& optimizer);
void take_steps(const std::vector<CheckpointEntry>& entries, Optimizer& optimizer);

struct Snapshot {
  int64_t update = 0;
  std::vector<CheckpointEntry> tensors;  // every rank's own
  // Of these, rank 0's are written.
  Attributes state;                           // of the group /state
  std::string config;                         // TOML, shown as /config
  std::map<std::string, std::string> assets;  // name -> bytes, shown as /<name>: "tokenizer"
  std::vector<std::string> vocabulary;        // may be empty
};

struct SaveResult {
  bool saved = false;
  std::string message;  // why not; or, when saved, what else went wrong
};

// Writes the checkpoints of a run into `folder`. Every rank has one and makes the same calls; results are
// equal on all ranks. Asynchronous: begin() copies the tensors and returns; one thread of each process
// writes without any communication; when every rank's shard_done() is true (the trainer sends that along
// with its step's numbers), all ranks call finish(). At most one checkpoint is under way.
class CheckpointWriter {
 public:
  // keep > 0: so many newest checkpoints stay, and those that links name. Removes what a crash left behind.
  CheckpointWriter(std::string folder, const dist::Runtime& runtime, bool asynchronous,
                   int keep = 0);
  ~CheckpointWriter();  // gives up a checkpoint under way
  CheckpointWriter(const CheckpointWriter&) = delete;

  // Collective. Synchronous: the result; asynchronous: the result only if it is already known (an error,
  // or this update is on disk). best: checkpoint_best moves, too.
  std::optional<SaveResult> begin(const Snapshot& snapshot, bool best = false);
  bool in_flight() const { return in_flight_; }  // equal on all ranks
  bool shard_done() const;                       // this process; no communication
  SaveResult finish();                           // collective; waits for the shards
  std::optional<SaveResult> wait();              // collective: finish() if one is under way

 private:
  std::vector<std::string> together(const std::function<std::string()>& fn) const;
  std::string publish(const std::vector<std::string>& shards) const;
  void prune() const;
  std::string temporary() const;

  std::string folder_;
  dist::Runtime runtime_;
  bool asynchronous_;
  int keep_;
  bool in_flight_ = false, best_ = false;
  int64_t update_ = -1, saved_update_ = -1;
  std::atomic<bool> cancelled_ = false;
  std::future<std::vector<StoredFile>> files_;  // of this process, with its first rank
};

// A checkpoint opened for reading
class Checkpoint {
 public:
  // verify: sizes and hashes of all files first (once for all ranks is enough: find_checkpoint does it).
  explicit Checkpoint(const std::string& step_folder, bool verify = true);

  const Hdf5File& model() const { return model_; }
  int64_t update() const;
  Attributes state() const { return model_.attrs("/state"); }
  std::string config() const { return model_.read_bytes("/config"); }
  std::string asset(const std::string& name) const;  // "tokenizer" -> bytes; empty = none
  std::vector<std::string> vocabulary() const;
  // Fills the tensors. Missing, extra (in the groups that `into` names) and misshapen ones are one
  // UserError that lists them all.
  void load(const std::vector<CheckpointEntry>& into) const;

 private:
  std::string folder_;
  Hdf5File model_;
};

std::string step_folder_name(int64_t update);                           // "step_00001000"
std::vector<std::string> step_folders(const std::string& checkpoints);  // newest first, full paths

struct FoundCheckpoint {
  std::string folder;                 // empty: "latest" found none
  std::vector<std::string> warnings;  // damaged ones that were passed over
};
// what: "latest" (the newest whole one), "best", or a path (resolve_checkpoint). The result is verified.
FoundCheckpoint find_checkpoint(const std::string& checkpoints, const std::string& what);
// A step folder, a run's checkpoints folder or its save-dir -> the step folder
std::string resolve_checkpoint(const std::string& path);

}  // namespace switchyard
