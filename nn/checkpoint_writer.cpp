// Saving, seen from all ranks. Steps: the ranks tell each other what they hold; rank 0 looks at the disk and
// makes a temporary folder; the first rank of each process takes its process's share of the plan and writes
// it (without communication, so that a background thread can do it); rank 0 writes the manifest, gives the
// folder its name, moves the links and prunes.
#include "nn/checkpoint.h"
#include "nn/checkpoint_files.h"

namespace switchyard {
using Json = nlohmann::json;
namespace {

// What a rank holds, as JSON
std::string describe(const std::vector<CheckpointEntry>& entries, int rank) {
  std::vector<CheckpointPiece> pieces;
  for (const auto& e : entries)
    pieces.push_back({e, e.tensor.dtype(), e.tensor.dim(0), rank, e.tensor.bytes(),
                      reinterpret_cast<int64_t>(&e.tensor), ""});
  return Json(pieces).dump();
}

// Which rank writes which rows: of those that hold them the one with the least to write so far. By path and
// first row; a function of the ranks' descriptions alone, nothing depends on processes.
std::vector<CheckpointPiece> make_plan(const std::vector<std::string>& descriptions) {
  std::map<std::pair<std::string, int64_t>, std::vector<CheckpointPiece>> holders;
  for (const auto& text : descriptions)
    for (const CheckpointPiece p : Json::parse(text)) holders[{p.path, p.first_row}].push_back(p);
  std::vector<CheckpointPiece> plan;
  std::vector<int64_t> load(descriptions.size(), 0);
  std::map<std::string, int64_t> missing;  // rows by path
  for (const auto& [key, copies] : holders) {
    const auto load_of = [&](const CheckpointPiece& p) { return load[size_t(p.rank)]; };
    plan.push_back(*std::ranges::min_element(copies, {}, load_of));
    load[size_t(plan.back().rank)] += plan.back().bytes;
    missing.try_emplace(key.first, plan.back().whole[0]).first->second -= plan.back().rows;
  }
  for (const auto& [path, rows] : missing)
    check(rows == 0, path + ": the ranks' rows do not make up the whole");
  return plan;
}

std::string shard_name(int process) {
  return concat("shard_", std::setfill('0'), std::setw(5), process, ".h5");
}

// In a shard the rows of expert 5 on are the dataset <path>/rows_5, so that a process that carries
// several ranks keeps each rank's experts apart.
std::string path_in_shard(const CheckpointPiece& piece) {
  return concat(piece.path, "/rows_", piece.first_row);
}

StoredFile finished(const std::string& folder, const std::string& name,
                    std::vector<CheckpointPiece> datasets) {
  const std::string path = folder + "/" + name;
  flush_to_disk(path);
  return {name, int64_t(fs::file_size(path)), hash_file(path), std::move(datasets)};
}

StoredFile write_shard(const std::string& folder, int process, std::vector<CheckpointPiece> pieces,
                       const std::atomic<bool>& cancelled) {
  Hdf5File file = Hdf5File::create(folder + "/" + shard_name(process));
  for (CheckpointPiece& piece : pieces) {
    if (cancelled) throw Error("saving was given up");
    file.write(path_in_shard(piece), piece.tensor);
    piece.offset = file.offset(path_in_shard(piece));
    piece.xxh3_128 = Hash128().add(piece.tensor.raw(), piece.tensor.bytes()).hex();
  }
  file.close();
  return finished(folder, shard_name(process), std::move(pieces));
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
    file.write_virtual(first.path, first.whole, first.dtype, sources);
  }
  file.write_bytes("/config", snapshot.config);
  file.write_bytes("/tokenizer", snapshot.tokenizer);
  file.write_strings("/vocabulary", snapshot.vocabulary);
  file.write("/state/update", Tensor::of(std::vector<int64_t>{snapshot.update}));
  for (const auto& [key, value] : snapshot.state) file.set_attr("/state", key, value);
  file.close();
  return finished(folder, "model.h5", {});
}

}  // namespace

std::vector<CheckpointEntry> checkpoint_entries(const std::vector<NamedParam>& params,
                                                Optimizer* optimizer) {
  std::vector<CheckpointEntry> entries;
  for (const auto& [path, p] : params) {
    const Shape whole = p->global_shape();
    entries.push_back({"/model/" + path, p->var.data(), whole, p->first_row});
    if (!optimizer) continue;
    const Optimizer::Slot& slot = optimizer->slot(path, *p);
    entries.push_back({"/optimizer/m/" + path, slot.m, whole, p->first_row});
    entries.push_back({"/optimizer/v/" + path, slot.v, whole, p->first_row});
    entries.push_back({"/optimizer/step/" + path, slot.step, {1}});
  }
  return entries;
}

std::string step_folder_name(int64_t update) {
  return concat("step_", std::setfill('0'), std::setw(8), update);
}

CheckpointWriter::CheckpointWriter(std::string folder, const dist::Runtime& runtime,
                                   bool asynchronous, int keep)
    : folder_(std::move(folder)), runtime_(runtime), asynchronous_(asynchronous), keep_(keep) {
  if (runtime_.world.rank() != 0) return;
  std::error_code failed;
  fs::create_directories(folder_, failed);
  system_check(!failed && access(folder_.c_str(), W_OK) == 0, folder_, "cannot be written");
  for (const auto& item : fs::directory_iterator(folder_))
    if (item.path().filename().string().starts_with(".tmp_")) fs::remove_all(item.path());
}

// Runs fn on the ranks that say so: "" or the first rank's error. Collective.
std::string CheckpointWriter::failure(bool runs, const std::function<void()>& fn) const {
  std::string mine;
  try {
    if (runs) fn();
  } catch (const std::exception& e) {
    mine = e.what();
  }
  const auto all = runtime_.world.all_gather_bytes(mine);
  const auto failed = std::ranges::find_if(all, [](auto& text) { return !text.empty(); });
  return failed == all.end() ? "" : *failed;
}

void CheckpointWriter::begin(const Snapshot& snapshot, bool best) {
  check(!in_flight_, "a checkpoint is already under way");
  in_flight_ = true, best_ = best, update_ = snapshot.update;
  temporary_ = folder_ + "/.tmp_" + step_folder_name(update_);
  const dist::Comm& world = runtime_.world;
  synchronize(runtime_.device);  // another rank's thread reads the tensors
  const auto descriptions = world.all_gather_bytes(describe(snapshot.tensors, world.rank()));
  std::vector<CheckpointPiece> plan;
  if (runtime_.leads_process()) plan = make_plan(descriptions);
  error_ = failure(world.rank() == 0, [&] {
    int64_t bytes = int64_t(plan.size() * 4096 + snapshot.tokenizer.size()) + (1 << 20);
    for (const auto& piece : plan) bytes += piece.bytes;
    check_free_space(folder_, bytes);
    fs::remove_all(temporary_);
    fs::create_directory(temporary_);
  });
  if (error_.empty() && runtime_.leads_process()) {
    std::vector<CheckpointPiece> pieces;  // of this process
    for (const auto& piece : plan) {
      if (runtime_.process_of(piece.rank) != runtime_.process) continue;
      const Tensor& t = *reinterpret_cast<const Tensor*>(piece.offset);
      pieces.push_back(piece);
      Tensor& host = pieces.back().tensor = t.to(Device::CPU);
      if (asynchronous_ && host.raw() == t.raw()) host = host.clone();  // training goes on
    }
    const auto write = [this, plan, pieces, snapshot] {
      std::vector<StoredFile> files;
      if (runtime_.process == 0) files.push_back(write_index(temporary_, plan, snapshot, runtime_));
      files.push_back(write_shard(temporary_, runtime_.process, pieces, cancelled_));
      return Json(files).dump();
    };
    files_ = std::async(asynchronous_ ? std::launch::async : std::launch::deferred, write);
  }
  world.barrier();  // every list was read
}

bool CheckpointWriter::shard_done() const {
  return !files_.valid() || files_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

std::string CheckpointWriter::finish() {
  check(in_flight_, "no checkpoint is under way");
  in_flight_ = false;
  const bool first = runtime_.world.rank() == 0;
  std::string mine = "[]";
  if (error_.empty()) error_ = failure(files_.valid(), [&] { mine = files_.get(); });
  const auto files = runtime_.world.all_gather_bytes(mine);
  if (error_.empty()) error_ = failure(first, [&] { publish(files); });
  std::error_code ignored;  // the next start tries again
  if (first) fs::remove_all(temporary_, ignored);
  return error_;
}

// Rank 0, with every process's files
void CheckpointWriter::publish(const std::vector<std::string>& files) const {
  Manifest manifest{.update = update_};
  for (const auto& text : files)
    for (const StoredFile file : Json::parse(text)) manifest.files.push_back(file);
  for (const auto& [sequence, folder] : step_folders(folder_))
    if (sequence != kDamaged) manifest.sequence = std::max(manifest.sequence, sequence + 1);
  write_durably(temporary_ + "/manifest.json", to_text(manifest));
  const std::string name = step_folder_name(update_), last = folder_ + "/checkpoint_last",
                    best = folder_ + "/checkpoint_best";
  publish_folder(temporary_, folder_ + "/" + name);
  publish_link(last, name);
  if (best_) publish_link(best, name);

  int kept = 0;
  std::error_code none;
  for (const auto& [sequence, folder] : step_folders(folder_))
    if (keep_ > 0 && ++kept > keep_ && !fs::equivalent(folder, last, none) &&
        !fs::equivalent(folder, best, none))
      remove_folder(folder);
}

}  // namespace switchyard
