#include "nn/checkpoint_write.h"

#include <cstdio>
#include <filesystem>

#include "nn/checkpoint_files.h"

namespace switchyard {
namespace {

StoredFile finished(const std::string& folder, const std::string& name) {
  const std::string path = folder + "/" + name;
  flush_to_disk(path);
  StoredFile file;
  file.name = name;
  file.size = int64_t(std::filesystem::file_size(path));
  file.hash = hash_file(path);
  return file;
}

}  // namespace

std::string shard_name(int process) {
  char name[32];
  std::snprintf(name, sizeof name, "shard_%05d.h5", process);
  return name;
}

// In a shard the rows of expert 5 on are the dataset <path>/rows_5, so that a process that carries
// several ranks keeps each rank's experts apart.
static std::string path_in_shard(const CheckpointPiece& piece) {
  return concat(piece.path, "/rows_", piece.first_row);
}

StoredFile write_shard(const std::string& folder, int process,
                       const std::vector<std::pair<CheckpointPiece, Tensor>>& pieces,
                       const std::atomic<bool>& cancelled) {
  const std::string name = shard_name(process);
  std::vector<StoredDataset> datasets;
  Hdf5File file = Hdf5File::create(folder + "/" + name);
  for (const auto& [piece, tensor] : pieces) {
    if (cancelled) throw Error("saving was given up");
    const std::string path = path_in_shard(piece);
    file.write(path, tensor);
    if (tensor.numel() == 0) continue;
    datasets.push_back({piece.path, piece.first_row, piece.rows, piece.rank, file.offset(path),
                        tensor.bytes(), Hash128().add(tensor.raw(), tensor.bytes()).hex()});
  }
  file.close();
  StoredFile stored = finished(folder, name);
  stored.datasets = std::move(datasets);
  return stored;
}

StoredFile write_index(const std::string& folder, const std::vector<CheckpointPiece>& plan,
                       const Snapshot& snapshot, const dist::Runtime& runtime) {
  Hdf5File file = Hdf5File::create(folder + "/model.h5");
  for (size_t i = 0; i < plan.size();) {
    const CheckpointPiece& first = plan[i];
    std::vector<VirtualSource> sources;
    for (; i < plan.size() && plan[i].path == first.path; ++i)
      if (plan[i].bytes() > 0)
        sources.push_back({shard_name(runtime.process_of(plan[i].rank)), path_in_shard(plan[i]),
                           plan[i].first_row, plan[i].rows});
    if (sources.empty()) file.write(first.path, Tensor::empty(first.whole, first.dtype));
    else file.write_virtual(first.path, first.whole, first.dtype, sources);
  }
  file.write_bytes("/config", snapshot.config);
  for (const auto& [name, bytes] : snapshot.assets) file.write_bytes("/" + name, bytes);
  if (!snapshot.vocabulary.empty()) file.write_strings("/vocabulary", snapshot.vocabulary);
  file.write("/state/update", Tensor::of(std::vector<int64_t>{snapshot.update}));
  for (const auto& [key, value] : snapshot.state)
    std::visit([&](const auto& v) { file.set_attr("/state", key, v); }, value);
  file.close();
  return finished(folder, "model.h5");
}

}  // namespace switchyard
