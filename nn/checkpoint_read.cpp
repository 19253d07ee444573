// Finding, verifying and loading checkpoints. Files are verified before HDF5 opens them.
#include <algorithm>
#include <filesystem>
#include <set>

#include "nn/checkpoint.h"
#include "nn/checkpoint_digest.h"
#include "nn/checkpoint_manifest.h"

namespace switchyard {
namespace fs = std::filesystem;

Checkpoint::Checkpoint(const std::string& step_folder, bool verify)
    : folder_(verify ? verify_files(step_folder) : step_folder),
      model_(Hdf5File::open(folder_ + "/model.h5")) {}

int64_t Checkpoint::update() const { return model_.read("/state/update").data<int64_t>()[0]; }

std::string Checkpoint::asset(const std::string& name) const {
  return model_.exists("/" + name) ? model_.read_bytes("/" + name) : "";
}

std::vector<std::string> Checkpoint::vocabulary() const {
  if (!model_.exists("/vocabulary")) return {};
  return model_.read_strings("/vocabulary");
}

void Checkpoint::load(const std::vector<CheckpointEntry>& into) const {
  std::string culprits;
  auto refuse = [&](const auto&... parts) {
    culprits += concat(culprits.empty() ? "" : ", ", parts...);
  };
  std::set<std::string> known, groups;
  for (const auto& e : into) {
    known.insert(e.path);
    groups.insert(e.path.substr(0, e.path.find('/', 1)));
    Shape whole = e.tensor.shape();
    if (e.placement == Placement::ExpertSharded) whole[0] = e.global_rows;
    const std::string here = concat(name_of(e.tensor.dtype()), " ", to_string(whole));
    if (!model_.exists(e.path)) refuse(e.path, " is missing");
    else if (const std::string there = layout(model_, e.path); here != there)
      refuse(e.path, " is ", there, " instead of ", here);
  }
  for (const auto& group : groups)
    for (const auto& path : model_.datasets(group))
      if (!known.count(path)) refuse(path, " is unknown to this model");
  user_check(
      culprits.empty(),
      concat("checkpoint ", folder_, " is of another model: ", culprits,
             "; give the options it was trained with (its config.toml, or inspect --show-config)"));
  for (const auto& e : into) {
    if (e.tensor.numel() == 0) continue;
    const Tensor t = model_.read_rows(e.path, e.first_row, e.tensor.dim(0));
    std::memcpy(e.tensor.raw(), t.raw(), size_t(t.bytes()));
  }
}

std::vector<std::string> step_folders(const std::string& checkpoints) {
  // By sequence number: after going back to an older checkpoint the newest has not the largest update.
  // One whose manifest is damaged counts by its name, before all others, so that it is reported.
  std::vector<std::pair<std::pair<int64_t, std::string>, std::string>> found;
  std::error_code none;
  for (const auto& item : fs::directory_iterator(checkpoints, none)) {
    const std::string name = item.path().filename().string();
    if (!name.starts_with("step_") || !item.is_directory()) continue;
    int64_t sequence = INT64_MAX;
    try {
      sequence = Manifest::read(item.path().string()).sequence;
    } catch (const UserError&) {
    }
    found.push_back({{sequence, name}, item.path().string()});
  }
  std::sort(found.rbegin(), found.rend());
  std::vector<std::string> folders;
  for (const auto& [order, path] : found) folders.push_back(path);
  return folders;
}

FoundCheckpoint find_checkpoint(const std::string& checkpoints, const std::string& what) {
  FoundCheckpoint found;
  if (what == "latest") {
    for (const auto& folder : step_folders(checkpoints)) {
      try {
        found.folder = verify_files(folder);
        break;
      } catch (const UserError& e) {
        found.warnings.push_back(concat(e.what(), "; an older checkpoint is tried"));
      }
    }
    return found;
  }
  const std::string best = checkpoints + "/checkpoint_best";
  user_check(what != "best" || fs::exists(best),
             best + ": there is no best checkpoint yet; take --resume latest");
  found.folder =
      verify_files(what == "best" ? fs::canonical(best).string() : resolve_checkpoint(what));
  return found;
}

std::string resolve_checkpoint(const std::string& path) {
  user_check(fs::is_directory(path), concat(path, ": no such checkpoint folder"));
  if (fs::exists(path + "/manifest.json") || fs::exists(path + "/model.h5"))
    return fs::canonical(path).string();
  for (const std::string& folder : {path, path + "/checkpoints"}) {
    if (fs::is_directory(folder + "/checkpoint_last"))
      return fs::canonical(folder + "/checkpoint_last").string();
    if (const auto steps = step_folders(folder); !steps.empty()) return steps[0];
  }
  throw UserError(concat(path,
                         ": holds no checkpoint (expected a step_* folder, a run's checkpoints "
                         "folder or its save-dir)"));
}

}  // namespace switchyard
