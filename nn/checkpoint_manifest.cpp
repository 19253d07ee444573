// The manifest covers itself: it holds size and hash of the text that it would be without these two, and is
// that text again when it is written anew.
#include "nn/checkpoint_manifest.h"

#include <filesystem>

#include "nn/checkpoint_files.h"

namespace switchyard {
using Json = nlohmann::json;
namespace {

constexpr int kVersion = 2;

[[noreturn]] void refuse(const std::string& folder, const std::string& why) {
  throw UserError(concat("checkpoint ", folder, " is damaged: ", why));
}

std::string sealed(Json manifest) {
  const std::string text = manifest.dump(1);
  manifest["manifest"] = {{"size", text.size()}, {"xxh3_128", Hash128().add(text).hex()}};
  return manifest.dump(1) + "\n";
}

}  // namespace

std::string Manifest::to_text() const {
  return sealed({{"format", "switchyard checkpoint"},
                 {"version", kVersion},
                 {"update", update},
                 {"sequence", sequence},
                 {"files", files}});
}

Manifest Manifest::read(const std::string& folder) {
  const std::string name = folder + "/manifest.json";
  if (!std::filesystem::exists(name)) refuse(folder, "manifest.json is missing");
  try {
    const std::string text = read_text(name);
    Json json = Json::parse(text);
    user_check(json.at("version") == kVersion,
               concat("checkpoint ", folder, ": manifest.json has format version ",
                      json.at("version").dump(), ", this program reads ", kVersion));
    json.erase("manifest");
    if (sealed(json) != text) refuse(folder, "manifest.json differs from its own hash");
    return {json.at("update"), json.at("sequence"), json.at("files")};
  } catch (const Json::exception& e) {
    refuse(folder, concat("manifest.json: ", e.what()));
  }
}

std::string verify_files(const std::string& folder) {
  user_check(std::filesystem::is_directory(folder),
             concat("checkpoint ", folder, ": no such folder"));
  for (const auto& file : Manifest::read(folder).files) {
    const std::string name = folder + "/" + file.name;
    if (!std::filesystem::exists(name)) refuse(folder, concat(file.name, " is missing"));
    const auto size = int64_t(std::filesystem::file_size(name));
    std::string why;
    if (size != file.size) why = concat(" has ", size, " bytes instead of ", file.size);
    else if (hash_file(name) != file.xxh3_128) why = " differs from its hash";
    if (why.empty()) continue;
    for (const auto& d : file.datasets)
      if (hash_file(name, d.offset, d.bytes) != d.xxh3_128)
        refuse(folder, concat(file.name, why, "; first damaged dataset: ", d.path, " rows ",
                              d.first_row, " to ", d.first_row + d.rows - 1));
    refuse(folder, concat(file.name, why, "; its tensors are whole"));
  }
  return folder;
}

}  // namespace switchyard
