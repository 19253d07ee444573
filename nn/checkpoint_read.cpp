// Finding, verifying and loading checkpoints. Files are verified before HDF5 opens them.
#include <algorithm>
#include <filesystem>
#include <set>
#include <sstream>

#include "nn/checkpoint.h"
#include "nn/checkpoint_manifest.h"

namespace switchyard {
namespace fs = std::filesystem;
namespace {

std::string verified(const std::string& folder, bool verify) {
  user_check(fs::is_directory(folder), concat("checkpoint ", folder, ": no such folder"));
  if (verify) verify_files(folder, Manifest::read(folder));
  return folder + "/model.h5";
}

std::string describe(const Shape& shape, DType dtype) {
  return concat(name_of(dtype), " ", to_string(shape));
}

}  // namespace

Checkpoint::Checkpoint(const std::string& step_folder, bool verify)
    : folder_(step_folder), model_(Hdf5File::open(verified(step_folder, verify))) {}

State Checkpoint::state() const {
  State state;
  for (const auto& name : model_.attrs("/state")) {
    switch (model_.attr_kind("/state", name)) {
      case AttrKind::Integer:
        state[name] = model_.attr_int("/state", name);
        break;
      case AttrKind::Real:
        state[name] = model_.attr_double("/state", name);
        break;
      case AttrKind::Text:
        state[name] = model_.attr_string("/state", name);
        break;
    }
  }
  return state;
}

int64_t Checkpoint::state_int(const std::string& name) const {
  user_check(model_.has_attr("/state", name),
             concat("checkpoint ", folder_, ": /state has no ", name));
  return model_.attr_int("/state", name);
}

int64_t Checkpoint::update() const { return model_.read("/state/update").data<int64_t>()[0]; }

std::string Checkpoint::asset(const std::string& name) const {
  return model_.exists("/" + name) ? model_.read_bytes("/" + name) : "";
}

std::vector<std::string> Checkpoint::vocabulary() const {
  if (!model_.exists("/vocabulary")) return {};
  return model_.read_strings("/vocabulary");
}

void Checkpoint::load(const std::vector<CheckpointEntry>& into) const {
  std::vector<std::string> culprits;
  std::set<std::string> known, groups;
  for (const auto& e : into) {
    known.insert(e.path);
    groups.insert(e.path.substr(0, e.path.find('/', 1)));
    Shape whole = e.tensor.shape();
    if (e.placement == Placement::ExpertSharded) whole[0] = e.global_rows;
    if (!model_.exists(e.path)) {
      culprits.push_back(concat(e.path, " is missing"));
      continue;
    }
    const std::string here = describe(whole, e.tensor.dtype());
    const std::string there = describe(model_.shape(e.path), model_.dtype(e.path));
    if (here != there) culprits.push_back(concat(e.path, " is ", there, " instead of ", here));
  }
  for (const auto& group : groups)
    if (model_.exists(group))
      for (const auto& path : model_.datasets(group))
        if (!known.count(path)) culprits.push_back(concat(path, " is unknown to this model"));
  std::string list;
  for (const auto& culprit : culprits) list += (list.empty() ? "" : ", ") + culprit;
  user_check(
      culprits.empty(),
      concat("checkpoint ", folder_, " is of another model: ", list,
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
        verify_files(folder, Manifest::read(folder));
        found.folder = folder;
        break;
      } catch (const UserError& e) {
        found.warnings.push_back(concat(e.what(), "; an older checkpoint is tried"));
      }
    }
    return found;
  }
  if (what == "best") {
    const fs::path link = fs::path(checkpoints) / "checkpoint_best";
    user_check(fs::exists(link), concat(link.string(),
                                        ": there is no best checkpoint yet; "
                                        "take --resume latest"));
    found.folder = fs::canonical(link).string();
  } else {
    found.folder = resolve_checkpoint(what);
  }
  verify_files(found.folder, Manifest::read(found.folder));
  return found;
}

FoundCheckpoint find_checkpoint(const dist::Comm& world, const std::string& checkpoints,
                                const std::string& what) {
  // From rank 0: 'E' error text, or 'F' folder and warnings, one per line
  std::string text;
  if (world.rank() == 0) {
    try {
      const FoundCheckpoint found = find_checkpoint(checkpoints, what);
      text = "F" + found.folder;
      for (const auto& warning : found.warnings) text += "\n" + warning;
    } catch (const UserError& e) {
      text = concat("E", e.what());
    }
  }
  text = world.all_gather_bytes(text)[0];
  if (text[0] == 'E') throw UserError(text.substr(1));
  FoundCheckpoint found;
  std::istringstream lines(text.substr(1));
  std::getline(lines, found.folder);
  for (std::string line; std::getline(lines, line);) found.warnings.push_back(line);
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
