// Saving, seen from all ranks. Steps: the plan from all ranks' lists; rank 0 looks at the disk and makes a
// temporary folder; each rank hands its pieces to the first rank of its process, which writes them (without
// communication, so that a background thread can do it); rank 0 writes the manifest, gives the folder its
// name, moves the links and prunes.
#include <algorithm>
#include <filesystem>
#include <iomanip>

#include <unistd.h>

#include "nn/checkpoint.h"
#include "nn/checkpoint_files.h"
#include "nn/checkpoint_manifest.h"

namespace switchyard {
namespace fs = std::filesystem;
using Pieces = std::vector<std::pair<CheckpointPiece, Tensor>>;
namespace {

struct SaveFailed : Error {  // on all ranks alike
  using Error::Error;
};

std::string shard_name(int process) {
  return concat("shard_", std::setfill('0'), std::setw(5), process, ".h5");
}

// In a shard the rows of expert 5 on are the dataset <path>/rows_5, so that a process that carries
// several ranks keeps each rank's experts apart.
std::string path_in_shard(const CheckpointPiece& piece) {
  return concat(piece.path, "/rows_", piece.first_row);
}

StoredFile finished(const std::string& folder, const std::string& name) {
  const std::string path = folder + "/" + name;
  flush_to_disk(path);
  return {name, int64_t(fs::file_size(path)), hash_file(path), {}};
}

StoredFile write_shard(const std::string& folder, int process, const Pieces& pieces,
                       const std::atomic<bool>& cancelled) {
  std::vector<CheckpointPiece> datasets;
  Hdf5File file = Hdf5File::create(folder + "/" + shard_name(process));
  for (const auto& [piece, tensor] : pieces) {
    if (cancelled) throw Error("saving was given up");
    file.write(path_in_shard(piece), tensor);
    if (tensor.numel() == 0) continue;
    datasets.push_back(piece);
    datasets.back().offset = file.offset(path_in_shard(piece));
    datasets.back().xxh3_128 = Hash128().add(tensor.raw(), tensor.bytes()).hex();
  }
  file.close();
  StoredFile stored = finished(folder, shard_name(process));
  stored.datasets = std::move(datasets);
  return stored;
}

// model.h5: virtual datasets over the shards; state, config, tokenizer of the snapshot.
StoredFile write_index(const std::string& folder, const std::vector<CheckpointPiece>& plan,
                       const Snapshot& snapshot, const dist::Runtime& runtime) {
  Hdf5File file = Hdf5File::create(folder + "/model.h5");
  for (size_t i = 0; i < plan.size();) {
    const CheckpointPiece& first = plan[i];
    std::vector<VirtualSource> sources;
    for (; i < plan.size() && plan[i].path == first.path; ++i)
      sources.push_back({shard_name(runtime.process_of(plan[i].rank)), path_in_shard(plan[i]),
                         plan[i].first_row, plan[i].rows});
    if (numel_of(first.whole) == 0) file.write(first.path, Tensor::empty(first.whole, first.dtype));
    else file.write_virtual(first.path, first.whole, first.dtype, sources);
  }
  file.write_bytes("/config", snapshot.config);
  for (const auto& [name, bytes] : snapshot.assets) file.write_bytes("/" + name, bytes);
  if (!snapshot.vocabulary.empty()) file.write_strings("/vocabulary", snapshot.vocabulary);
  file.write("/state/update", Tensor::of(std::vector<int64_t>{snapshot.update}));
  for (const auto& [key, value] : snapshot.state) file.set_attr("/state", key, value);
  file.close();
  return finished(folder, "model.h5");
}

}  // namespace

std::string step_folder_name(int64_t update) {
  return concat("step_", std::setfill('0'), std::setw(8), update);
}

CheckpointWriter::CheckpointWriter(std::string folder, const dist::Runtime& runtime,
                                   bool asynchronous, int keep)
    : folder_(std::move(folder)), runtime_(runtime), asynchronous_(asynchronous), keep_(keep) {
  if (runtime_.world.rank() != 0) return;
  std::error_code failed;
  fs::create_directories(folder_, failed);
  user_check(!failed && access(folder_.c_str(), W_OK) == 0,
             concat(folder_, ": cannot be written: ",
                    failed ? failed.message() : std::generic_category().message(errno)));
  for (const auto& item : fs::directory_iterator(folder_))
    if (item.path().filename().string().starts_with(".tmp_")) fs::remove_all(item.path());
}

CheckpointWriter::~CheckpointWriter() { cancelled_ = true; }  // files_ waits for its thread

std::string CheckpointWriter::temporary() const {
  return folder_ + "/.tmp_" + step_folder_name(update_);
}

// Runs fn on every rank: what all of them returned, or the first error as SaveFailed. Collective.
std::vector<std::string> CheckpointWriter::together(const std::function<std::string()>& fn) const {
  std::string mine;
  try {
    mine = "+" + fn();
  } catch (const std::exception& e) {
    mine = concat("-", e.what());
  }
  std::vector<std::string> all = runtime_.world.all_gather_bytes(mine);
  for (auto& text : all) {
    if (text[0] == '-') throw SaveFailed(text.substr(1));
    text.erase(0, 1);
  }
  return all;
}

std::optional<SaveResult> CheckpointWriter::begin(const Snapshot& snapshot, bool best) {
  check(!in_flight_, "a checkpoint is already under way");
  const int rank = runtime_.world.rank();
  update_ = snapshot.update;
  best_ = best;
  try {
    if (update_ == saved_update_) {  // already on disk
      together([&] {
        if (rank == 0 && best)
          publish_link(folder_ + "/checkpoint_best", step_folder_name(update_));
        return "";
      });
      return SaveResult{true, ""};
    }
    const std::vector<CheckpointPiece> plan =
        plan_checkpoint(runtime_.world.all_gather_bytes(describe(snapshot.tensors)));
    Pieces mine;
    // The address of `mine` is for the ranks of this process
    const std::vector<std::string> addresses = together([&] {
      if (rank == 0) {
        int64_t bytes = int64_t(plan.size() * 4096) + (1 << 20);
        for (const auto& piece : plan) bytes += piece.bytes;
        for (const auto& [name, asset] : snapshot.assets) bytes += int64_t(asset.size());
        check_free_space(folder_, bytes);
        fs::remove_all(temporary());
        fs::create_directory(temporary());
      }
      std::map<std::string, Tensor> tensors;
      for (const auto& e : snapshot.tensors) tensors[e.path] = e.tensor;
      for (const auto& piece : plan)
        if (piece.rank == rank) {
          const Tensor& t = tensors.at(piece.path);
          mine.emplace_back(piece, asynchronous_ ? t.clone() : t);
        }
      return concat(reinterpret_cast<uintptr_t>(&mine));
    });
    if (runtime_.leads_process()) {
      Pieces pieces;
      for (int r = rank; r < int(addresses.size()); ++r) {
        if (runtime_.process_of(r) != runtime_.process) break;
        const auto& its = *reinterpret_cast<const Pieces*>(std::stoull(addresses[size_t(r)]));
        pieces.insert(pieces.end(), its.begin(), its.end());
      }
      auto write = [folder = temporary(), plan, pieces, snapshot, runtime = runtime_,
                    &cancelled = cancelled_] {
        std::vector<StoredFile> files;
        if (runtime.process == 0) files.push_back(write_index(folder, plan, snapshot, runtime));
        files.push_back(write_shard(folder, runtime.process, pieces, cancelled));
        return files;
      };
      files_ = std::async(asynchronous_ ? std::launch::async : std::launch::deferred, write);
    }
    runtime_.world.barrier();  // every `mine` was read
  } catch (const SaveFailed& e) {
    return SaveResult{false, e.what()};
  }
  in_flight_ = true;
  if (asynchronous_) return std::nullopt;
  return finish();
}

bool CheckpointWriter::shard_done() const {
  return !files_.valid() || files_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

SaveResult CheckpointWriter::finish() {
  check(in_flight_, "no checkpoint is under way");
  in_flight_ = false;
  SaveResult result;
  try {
    const std::vector<std::string> files = together(
        [&] { return files_.valid() ? nlohmann::json(files_.get()).dump() : std::string("[]"); });
    const auto publish_at_0 = [&] { return runtime_.world.rank() == 0 ? publish(files) : ""; };
    result = {true, together(publish_at_0)[0]};
    saved_update_ = update_;
  } catch (const SaveFailed& e) {
    result = {false, e.what()};
  }
  std::error_code ignored;  // the next start tries again
  if (runtime_.world.rank() == 0) fs::remove_all(temporary(), ignored);
  return result;
}

std::optional<SaveResult> CheckpointWriter::wait() {
  if (!in_flight_) return std::nullopt;
  return finish();
}

// Rank 0, with every process's files; returns what went wrong once the checkpoint was safe
std::string CheckpointWriter::publish(const std::vector<std::string>& shards) const {
  Manifest manifest;
  manifest.update = update_;
  for (const auto& text : shards)
    for (const StoredFile file : nlohmann::json::parse(text)) manifest.files.push_back(file);
  for (const auto& older : step_folders(folder_)) {
    try {
      manifest.sequence = std::max(manifest.sequence, Manifest::read(older).sequence + 1);
    } catch (const UserError&) {
      // A damaged one has no place in the order; whoever resumes is told.
    }
  }
  write_durably(temporary() + "/manifest.json", manifest.to_text());
  publish_folder(temporary(), folder_ + "/" + step_folder_name(update_));
  try {
    publish_link(folder_ + "/checkpoint_last", step_folder_name(update_));
    if (best_) publish_link(folder_ + "/checkpoint_best", step_folder_name(update_));
    prune();
  } catch (const std::exception& e) {
    return concat(step_folder_name(update_), " is saved, but: ", e.what());
  }
  return "";
}

void CheckpointWriter::prune() const {
  if (keep_ <= 0) return;
  const std::vector<std::string> folders = step_folders(folder_);
  for (size_t i = size_t(keep_); i < folders.size(); ++i) {
    const fs::path folder(folders[i]);
    auto linked = [&](const char* link) {
      std::error_code none;
      return fs::read_symlink(fs::path(folder_) / link, none) == folder.filename();
    };
    if (linked("checkpoint_last") || linked("checkpoint_best")) continue;
    // Out of sight first: a crash while deleting must not look like a damaged checkpoint
    const fs::path doomed = folder.parent_path() / (".tmp_old_" + folder.filename().string());
    fs::rename(folder, doomed);
    fs::remove_all(doomed);
  }
}

}  // namespace switchyard
