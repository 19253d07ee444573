// Saving, seen from all ranks. Steps: the plan from all ranks' lists; rank 0 looks at the disk and makes a
// temporary folder; each rank hands its pieces to its process's job; the jobs write their files; rank 0
// writes the manifest, gives the folder its name, moves the links and prunes.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <thread>

#include <unistd.h>

#include "nn/checkpoint.h"
#include "nn/checkpoint_files.h"
#include "nn/checkpoint_manifest.h"
#include "nn/checkpoint_plan.h"
#include "nn/checkpoint_write.h"

namespace switchyard {
namespace fs = std::filesystem;

// What the ranks of one process share: the leading rank makes it, the others get it from its memory.
struct CheckpointWriter::Job {
  std::vector<std::vector<std::pair<CheckpointPiece, Tensor>>>
      pieces;  // by rank within the process
  std::vector<StoredFile> files;
  std::string error;
  std::atomic<bool> done = false, cancelled = false;
  std::thread thread;

  void run(const std::function<void(Job&)>& write) {
    try {
      write(*this);
    } catch (const std::exception& e) {
      error = e.what();
    }
    pieces.clear();
    done = true;
  }
};

std::string step_folder_name(int64_t update) {
  char name[32];
  std::snprintf(name, sizeof name, "step_%08lld", static_cast<long long>(update));
  return name;
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

CheckpointWriter::~CheckpointWriter() {
  if (!job_ || !runtime_.leads_process()) return;
  job_->cancelled = true;
  if (job_->thread.joinable()) job_->thread.join();
}

std::string CheckpointWriter::temporary() const {
  return folder_ + "/.tmp_" + step_folder_name(update_);
}

std::string CheckpointWriter::share(const std::string& error) const {
  for (const auto& text : runtime_.world.all_gather_bytes(error))
    if (!text.empty()) return text;
  return "";
}

std::optional<SaveResult> CheckpointWriter::begin(const Snapshot& snapshot, bool best) {
  check(!in_flight_, "a checkpoint is already under way");
  const dist::Comm& world = runtime_.world;
  update_ = snapshot.update;
  best_ = best;
  if (update_ == saved_update_) {  // already on disk
    std::string error;
    if (world.rank() == 0 && best) try {
        publish_link(folder_ + "/checkpoint_best", step_folder_name(update_));
      } catch (const std::exception& e) {
        error = e.what();
      }
    error = share(error);
    return SaveResult{error.empty(), error};
  }

  // Every rank's list, behind the address of its job (used inside a process only)
  int first = world.rank(), last = world.rank();  // the ranks of this process
  while (first > 0 && runtime_.process_of(first - 1) == runtime_.process) --first;
  while (last + 1 < world.size() && runtime_.process_of(last + 1) == runtime_.process) ++last;
  const bool leads = world.rank() == first;
  if (leads) {
    job_ = std::make_shared<Job>();
    job_->pieces.resize(size_t(last - first + 1));
  }
  const std::shared_ptr<Job>* mine = &job_;
  std::string message(reinterpret_cast<const char*>(&mine), sizeof mine);
  std::vector<std::string> all = world.all_gather_bytes(message + describe(snapshot.tensors));
  if (!leads) {
    std::memcpy(&mine, all[size_t(first)].data(), sizeof mine);
    job_ = *mine;
  }
  for (auto& text : all) text.erase(0, sizeof mine);
  const std::vector<CheckpointPiece> plan = plan_checkpoint(all);

  std::string error;
  if (world.rank() == 0) try {
      int64_t extra = int64_t(plan.size() * 4096) + (1 << 20);
      for (const auto& [name, bytes] : snapshot.assets) extra += int64_t(bytes.size());
      check_free_space(folder_, total_bytes(plan) + extra);
      fs::remove_all(temporary());
      fs::create_directory(temporary());
    } catch (const std::exception& e) {
      error = e.what();
    }
  std::map<std::string, const Tensor*> tensors;
  for (const auto& e : snapshot.tensors) tensors[e.path] = &e.tensor;
  auto& own = job_->pieces[size_t(world.rank() - first)];
  for (const auto& piece : plan)
    if (piece.rank == world.rank()) {
      const Tensor& t = *tensors.at(piece.path);
      own.emplace_back(piece, asynchronous_ ? t.clone() : t);
    }
  error = share(error);  // also: every rank has handed over its pieces
  if (!error.empty()) {
    job_.reset();
    return SaveResult{false, error};
  }

  in_flight_ = true;
  if (leads) {
    Snapshot index;
    if (world.rank() == 0) {
      index = snapshot;
      index.tensors.clear();
    }
    auto write = [folder = temporary(), plan, index, runtime = runtime_](Job& job) {
      std::vector<std::pair<CheckpointPiece, Tensor>> pieces;
      for (auto& part : job.pieces) pieces.insert(pieces.end(), part.begin(), part.end());
      if (runtime.process == 0) job.files.push_back(write_index(folder, plan, index, runtime));
      job.files.push_back(write_shard(folder, runtime.process, pieces, job.cancelled));
    };
    if (asynchronous_) job_->thread = std::thread([job = job_.get(), write] { job->run(write); });
    else job_->run(write);
  }
  if (asynchronous_) return std::nullopt;
  return finish();
}

bool CheckpointWriter::shard_done() const { return !job_ || job_->done; }

SaveResult CheckpointWriter::finish() {
  check(in_flight_, "no checkpoint is under way");
  std::string error, files;
  if (runtime_.leads_process()) {
    if (job_->thread.joinable()) job_->thread.join();
    error = job_->error;
    if (error.empty()) files = to_text(job_->files);
  }
  error = share(error);
  const std::vector<std::string> shards = runtime_.world.all_gather_bytes(files);
  std::string warning;
  if (runtime_.world.rank() == 0) {
    try {
      if (error.empty()) warning = publish(shards);
    } catch (const std::exception& e) {
      error = e.what();
    }
    std::error_code ignored;  // the next start tries again
    fs::remove_all(temporary(), ignored);
  }
  error = share(error);
  warning = share(warning);
  job_.reset();
  in_flight_ = false;
  if (!error.empty()) return {false, error};
  saved_update_ = update_;
  return {true, warning};
}

std::optional<SaveResult> CheckpointWriter::wait() {
  if (!in_flight_) return std::nullopt;
  return finish();
}

std::string CheckpointWriter::publish(const std::vector<std::string>& shards) {
  Manifest manifest;
  manifest.update = update_;
  for (const auto& text : shards) {
    if (text.empty()) continue;
    for (auto& file : files_from_text(text)) manifest.files.push_back(std::move(file));
  }
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
    bool linked = false;
    for (const char* link : {"checkpoint_last", "checkpoint_best"}) {
      std::error_code none;
      linked |= fs::read_symlink(fs::path(folder_) / link, none) == folder.filename();
    }
    if (linked) continue;
    // Out of sight first: a crash while deleting must not look like a damaged checkpoint
    const fs::path doomed = folder.parent_path() / (".tmp_old_" + folder.filename().string());
    fs::rename(folder, doomed);
    fs::remove_all(doomed);
  }
}

}  // namespace switchyard
