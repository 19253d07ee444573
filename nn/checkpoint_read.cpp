// Verifying, finding, loading and comparing checkpoints. Files are verified before HDF5 opens them.
#include <bit>
#include <cstring>

#include "nn/checkpoint.h"
#include "nn/checkpoint_files.h"

namespace switchyard {
using Json = nlohmann::json;
namespace {

[[noreturn]] void refuse(const std::string& folder, const std::string& why) {
  throw UserError(concat("checkpoint ", folder, " is damaged: ", why));
}

std::string layout(DType dtype, const Shape& shape) {  // "f32 [4, 3]"
  return concat(name_of(dtype), " ", to_string(shape));
}
std::string layout(const Hdf5File& file, const std::string& path) {
  return layout(file.dtype(path), file.shape(path));
}

std::string digest_of(const Hdf5File& file, const std::string& group) {
  Hash128 hash;
  for (const auto& path : file.datasets(group)) {
    const Tensor t = file.read(path);
    hash.add(concat(path, "\n", layout(t.dtype(), t.shape()), "\n")).add(t.raw(), t.bytes());
  }
  return hash.hex();
}

// Floats in order -> integers in order
int64_t ordered(double x) {
  const auto bits = std::bit_cast<int32_t>(float(x));
  return bits < 0 ? -int64_t(bits & INT32_MAX) : bits;
}

}  // namespace

std::string to_text(Json manifest) {
  const std::string text = manifest.dump(1);
  manifest["manifest"] = {{"size", text.size()}, {"xxh3_128", Hash128().add(text).hex()}};
  return manifest.dump(1) + "\n";
}

Manifest read_manifest(const std::string& folder) {
  const std::string name = folder + "/manifest.json";
  if (!fs::exists(name)) refuse(folder, "manifest.json is missing");
  try {
    const std::string text = read_text(name);
    Json json = Json::parse(text);
    user_check(json.at("version") == Manifest().version,
               concat("checkpoint ", folder, ": manifest.json has format version ",
                      json.at("version").dump(), ", this program reads ", Manifest().version));
    json.erase("manifest");
    if (to_text(json) != text) refuse(folder, "manifest.json differs from its own hash");
    return json;
  } catch (const Json::exception& e) {
    refuse(folder, concat("manifest.json: ", e.what()));
  }
}

std::string verify_files(const std::string& folder) {
  user_check(fs::is_directory(folder), concat("checkpoint ", folder, ": no such folder"));
  for (const auto& file : read_manifest(folder).files) {
    const std::string name = folder + "/" + file.name;
    if (!fs::exists(name)) refuse(folder, file.name + " is missing");
    const auto size = int64_t(fs::file_size(name));
    if (size == file.size && hash_file(name) == file.xxh3_128) continue;
    const std::string why = size == file.size
                                ? file.name + " differs from its hash"
                                : concat(file.name, " has ", size, " bytes instead of ", file.size);
    for (const auto& d : file.datasets)
      if (hash_file(name, d.offset, d.bytes) != d.xxh3_128)
        refuse(folder, concat(why, "; first damaged dataset: ", d.path, " rows ", d.first_row,
                              " to ", d.first_row + d.rows - 1));
    refuse(folder, why + "; its tensors are whole");
  }
  return folder;
}

Hdf5File open_checkpoint(const std::string& folder, bool verify) {
  return Hdf5File::open((verify ? verify_files(folder) : folder) + "/model.h5");
}

void load_checkpoint(const std::string& folder, const std::vector<CheckpointEntry>& into) {
  const Hdf5File model = open_checkpoint(folder, false);
  std::string culprits;
  const auto refuse = [&](const std::string& path, const std::string& why) {
    culprits += (culprits.empty() ? "" : ", ") + path + why;
  };
  std::set<std::string> known, groups;
  for (const auto& e : into) {
    known.insert(e.path);
    groups.insert(e.path.substr(0, e.path.find('/', 1)));
    const std::string here = layout(e.tensor.dtype(), e.whole);
    if (!model.exists(e.path)) refuse(e.path, " is missing");
    else if (const std::string there = layout(model, e.path); here != there)
      refuse(e.path, " is " + there + " instead of " + here);
  }
  for (const auto& group : groups)
    for (const auto& path : model.datasets(group))
      if (!known.count(path)) refuse(path, " is unknown to this model");
  user_check(
      culprits.empty(),
      concat("checkpoint ", folder, " is of another model: ", culprits,
             "; give the options it was trained with (its config.toml, or inspect --show-config)"));
  for (const auto& e : into) {
    const Tensor t = model.read(e.path, e.first_row, e.tensor.dim(0));
    assign(t, e.tensor);
  }
}

// By sequence number: after going back to an older checkpoint the newest has not the largest update.
// Those with a damaged manifest come before all others, so that they are reported.
StepFolders step_folders(const std::string& checkpoints) {
  StepFolders found;
  std::error_code none;
  for (const auto& item : fs::directory_iterator(checkpoints, none)) {
    const std::string path = item.path().string();
    if (!item.path().filename().string().starts_with("step_") || !item.is_directory()) continue;
    try {
      found.emplace(read_manifest(path).sequence, path);
    } catch (const UserError&) {
      found.emplace(kDamaged, path);
    }
  }
  return found;
}

FoundCheckpoint find_checkpoint(const std::string& checkpoints, const std::string& what) {
  const std::string best = checkpoints + "/checkpoint_best";
  user_check(what != "best" || fs::exists(best),
             best + ": there is no best checkpoint yet; take --resume latest");
  if (what != "latest") return {verify_files(resolve_checkpoint(what == "best" ? best : what)), {}};
  FoundCheckpoint found;
  for (const auto& [sequence, folder] : step_folders(checkpoints)) {
    try {
      found.folder = verify_files(folder);
      break;
    } catch (const UserError& e) {
      found.warnings.push_back(concat(e.what(), "; an older checkpoint is tried"));
    }
  }
  return found;
}

std::string resolve_checkpoint(const std::string& path) {
  user_check(fs::is_directory(path), concat(path, ": no such checkpoint folder"));
  if (fs::exists(path + "/manifest.json") || fs::exists(path + "/model.h5"))
    return fs::canonical(path).string();
  for (const std::string& folder : {path, path + "/checkpoints"}) {
    if (fs::is_directory(folder + "/checkpoint_last"))
      return fs::canonical(folder + "/checkpoint_last").string();
    if (const auto steps = step_folders(folder); !steps.empty()) return steps.begin()->second;
  }
  throw UserError(path +
                  ": holds no checkpoint (expected a step_* folder, a run's checkpoints "
                  "folder or its save-dir)");
}

CheckpointDigest digest(const Hdf5File& model) {
  CheckpointDigest d{digest_of(model, "/model"), digest_of(model, "/optimizer"), ""};
  d.combined = Hash128().add(d.model).add(d.optimizer).hex();
  return d;
}

std::string first_difference(const Hdf5File& a, const Hdf5File& b) {
  std::set<std::string> paths;
  for (const Hdf5File* file : {&a, &b})
    for (const char* group : {"/model", "/optimizer"})
      for (const auto& path : file->datasets(group)) paths.insert(path);
  for (const auto& path : paths) {
    if (!a.exists(path) || !b.exists(path))
      return concat(path, ": only in ", a.exists(path) ? "A" : "B");
    if (layout(a, path) != layout(b, path))
      return concat(path, ": ", layout(a, path), " in A, ", layout(b, path), " in B");
    const Tensor x = a.read(path), y = b.read(path);
    const int64_t at = std::mismatch(x.raw(), x.raw() + x.bytes(), y.raw()).first - x.raw();
    if (at == x.bytes()) continue;
    const int64_t i = at / size_of(x.dtype());
    const auto element = [i](const Tensor& t) {
      return t.reshape({-1}).slice(i, i + 1).to(DType::F64).data<double>()[0];
    };
    const std::string text = concat(std::setprecision(17), path, ": element ", i, " is ",
                                    element(x), " in A, ", element(y), " in B");
    if (x.dtype() != DType::F32) return text;
    const int64_t ulps = std::abs(ordered(element(x)) - ordered(element(y)));
    return concat(text, ", ", ulps, " ulps apart");
  }
  return "";
}

}  // namespace switchyard
