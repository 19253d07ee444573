// apps/inspect: what a checkpoint holds. PATH is a step folder, a run's checkpoints folder, or its save-dir.
//   apps/inspect PATH              state and parameters: shapes, sizes, norms, experts by rank
//   apps/inspect --show-config PATH  its options, as for --config FILE of the training app
//   apps/inspect --check PATH      verifies every byte: exit code 2 names the bad file and dataset
//   apps/inspect --digest PATH     hashes of /model, /optimizer and both, equal at any number of processes
//   apps/inspect --diff A B        the first tensor that differs; exit code 1, or 0 when there is none
#include <cmath>
#include <iostream>
#include <numeric>

#include "apps/common/flags.h"
#include "apps/common/text_table.h"
#include "nn/checkpoint.h"

namespace switchyard {
namespace {

const std::string kModel = "/model/";

std::string mib(int64_t bytes) { return fixed(double(bytes) / (1 << 20), 2) + " MiB"; }

void print_parameters(const Hdf5File& model) {
  TextTable table({"parameter", "shape", "type", "KiB", "norm"});
  int64_t count = 0, bytes = 0;
  for (const auto& path : model.datasets("/model")) {
    const Tensor t = model.read(path);
    const auto x = t.to(DType::F64).to_vector<double>();
    const double squares = std::inner_product(x.begin(), x.end(), x.begin(), 0.0);
    count += t.numel();
    bytes += t.bytes();
    table.row({path.substr(kModel.size()), to_string(t.shape()), name_of(t.dtype()),
               fixed(double(t.bytes()) / 1024, 1), concat(std::sqrt(squares))});
  }
  std::cout << table.text() << count << " parameters, " << mib(bytes) << "\n";
}

void print_experts(const Manifest& manifest) {
  std::map<std::string, std::string> holders;  // path -> "first expert-last: rank, ..."
  for (const auto& file : manifest.files)
    for (const auto& d : file.datasets) {
      if (!d.path.starts_with(kModel) || d.path.find("/experts/") == std::string::npos) continue;
      std::string& list = holders[d.path.substr(kModel.size())];
      list += concat(list.empty() ? "" : ", ", d.first_row,
                     d.rows > 1 ? concat("-", d.first_row + d.rows - 1) : "", ": ", d.rank);
    }
  TextTable table({"experts", "held by rank"});
  for (const auto& [path, list] : holders) table.row({path, list});
  std::cout << "\n" << table.text();
}

void print_all(const std::string& folder) {
  const Hdf5File model = open_checkpoint(folder);
  std::cout << "checkpoint " << folder << "\n";
  for (const auto& [name, value] : model.attrs("/state"))
    std::visit([&name = name](const auto& v) { std::cout << name << " = " << v << "\n"; }, value);
  std::cout << "\n";
  print_parameters(model);
  const Manifest manifest = read_manifest(folder);
  print_experts(manifest);
  int64_t total = 0;
  for (const auto& file : manifest.files) total += file.size;
  std::cout << "\n" << manifest.files.size() << " files, " << mib(total) << "\n";
}

int run(const std::vector<std::string>& args) {
  std::vector<std::string> paths;
  bool show_config = false, check = false, hashes = false, diff = false;
  OptionList list;
  list.group("What to do with PATH (a step folder, a checkpoints folder, or a run's save-dir)");
  list(show_config, "show-config", "print its options, as for --config FILE of the training app");
  list(check, "check", "verify every byte of every file");
  list(hashes, "digest", "print hashes of /model, /optimizer and both");
  list(diff, "diff", "compare two checkpoints: --diff A B");
  list.arguments(paths, "PATH", "checkpoint; --diff takes two");
  const ParseResult parsed = parse_flags(list, args, "inspect", "What a checkpoint holds.");
  std::cout << parsed.text;
  if (parsed.exit_code) return *parsed.exit_code;
  const size_t expected = diff ? 2 : 1;
  user_check(show_config + check + hashes + diff <= 1,
             "give one of --show-config, --check, --digest, --diff");
  user_check(paths.size() == expected, concat("expected ", expected, " checkpoint path(s), got ",
                                              paths.size(), "; see --help"));
  for (auto& path : paths) path = resolve_checkpoint(path);
  if (diff) {
    const std::string difference =
        first_difference(open_checkpoint(paths[0]), open_checkpoint(paths[1]));
    std::cout << (difference.empty() ? "no tensor differs" : difference) << "\n";
    return difference.empty() ? 0 : 1;
  }
  if (check) {
    std::cout << verify_files(paths[0]) << ": whole\n";
  } else if (hashes) {
    const CheckpointDigest d = digest(open_checkpoint(paths[0]));
    std::cout << "model     " << d.model << "\noptimizer " << d.optimizer << "\ncombined  "
              << d.combined << "\n";
  } else if (show_config) {
    std::cout << open_checkpoint(paths[0]).read_bytes("/config");
  } else {
    print_all(paths[0]);
  }
  return 0;
}

}  // namespace
}  // namespace switchyard

int main(int argc, char** argv) {
  return switchyard::tool_main("inspect", argc, argv, switchyard::run);
}
