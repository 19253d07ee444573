// The manifest covers itself: its text ends in its own size and the hash of all bytes before that hash.
#include "nn/checkpoint_manifest.h"

#include <cstdio>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "nn/checkpoint_files.h"
#include "tensor/check.h"

namespace switchyard {
using Json = nlohmann::ordered_json;
namespace {

constexpr int kVersion = 1;
constexpr size_t kHexDigits = 32;
const std::string kEnd = "\"}}\n";

Json to_json(const std::vector<StoredFile>& files) {
  Json list = Json::array();
  for (const auto& f : files) {
    Json datasets = Json::array();
    for (const auto& d : f.datasets)
      datasets.push_back({{"path", d.path},
                          {"first_row", d.first_row},
                          {"rows", d.rows},
                          {"rank", d.rank},
                          {"offset", d.offset},
                          {"bytes", d.bytes},
                          {"xxh3_128", d.hash}});
    list.push_back(
        {{"name", f.name}, {"size", f.size}, {"xxh3_128", f.hash}, {"datasets", datasets}});
  }
  return list;
}

std::vector<StoredFile> from_json(const Json& list) {
  std::vector<StoredFile> files;
  for (const auto& f : list) {
    StoredFile& file = files.emplace_back();
    file.name = f.at("name");
    file.size = f.at("size");
    file.hash = f.at("xxh3_128");
    for (const auto& d : f.at("datasets"))
      file.datasets.push_back({d.at("path"), d.at("first_row"), d.at("rows"), d.at("rank"),
                               d.at("offset"), d.at("bytes"), d.at("xxh3_128")});
  }
  return files;
}

[[noreturn]] void refuse(const std::string& folder, const std::string& why) {
  throw UserError(concat("checkpoint ", folder, " is damaged: ", why));
}

}  // namespace

std::string to_text(const std::vector<StoredFile>& files) { return to_json(files).dump(); }
std::vector<StoredFile> files_from_text(const std::string& text) {
  return from_json(Json::parse(text));
}

std::string Manifest::to_text() const {
  const Json body = {{"format", "switchyard checkpoint"},
                     {"version", kVersion},
                     {"update", update},
                     {"sequence", sequence},
                     {"files", to_json(files)}};
  std::string text = body.dump(1);
  text.erase(text.find_last_of('}'));
  text += ",\n \"manifest\": {\"size\": \"";
  const std::string middle = "\", \"xxh3_128\": \"";
  char size[16];
  std::snprintf(size, sizeof size, "%012zu",
                text.size() + 12 + middle.size() + kHexDigits + kEnd.size());
  text += size + middle;
  return text + Hash128().add(text).hex() + kEnd;
}

Manifest Manifest::read(const std::string& folder) {
  const std::string name = folder + "/manifest.json";
  if (!std::filesystem::exists(name)) refuse(folder, "manifest.json is missing");
  const std::string text = read_text(name);
  const size_t tail = kHexDigits + kEnd.size();
  if (text.size() <= tail || !text.ends_with(kEnd))
    refuse(folder, "manifest.json is truncated or changed");
  const std::string body = text.substr(0, text.size() - tail);
  if (Hash128().add(body).hex() != text.substr(body.size(), kHexDigits))
    refuse(folder, "manifest.json differs from its own hash");
  Manifest m;
  try {
    const Json json = Json::parse(text);
    user_check(json.at("version") == kVersion,
               concat("checkpoint ", folder, ": manifest.json has format version ",
                      json.at("version").dump(), ", this program reads ", kVersion));
    m.update = json.at("update");
    m.sequence = json.at("sequence");
    m.files = from_json(json.at("files"));
  } catch (const Json::exception& e) {
    refuse(folder, concat("manifest.json: ", e.what()));
  }
  return m;
}

void verify_files(const std::string& folder, const Manifest& manifest) {
  for (const auto& file : manifest.files) {
    const std::string name = folder + "/" + file.name;
    std::error_code failed;
    const auto size = std::filesystem::file_size(name, failed);
    if (failed) refuse(folder, concat(file.name, " is missing"));
    std::string why;
    if (int64_t(size) != file.size) why = concat(" has ", size, " bytes instead of ", file.size);
    else if (hash_file(name) != file.hash) why = " differs from its hash";
    if (why.empty()) continue;
    for (const auto& d : file.datasets)
      if (hash_file(name, d.offset, d.bytes) != d.hash)
        refuse(folder, concat(file.name, why, "; first damaged dataset: ", d.path, " rows ",
                              d.first_row, " to ", d.first_row + d.rows - 1));
    refuse(folder, concat(file.name, why, "; its tensors are whole"));
  }
}

}  // namespace switchyard
