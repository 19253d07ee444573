// Checkpoints: any number of ranks, every byte covered, whatever fails leaves the previous one whole.
#include "nn/checkpoint.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nn/checkpoint_files.h"

namespace switchyard {
namespace {
namespace fs = std::filesystem;

struct TempFolder {
  fs::path path;
  TempFolder() {
    std::string name = (fs::temp_directory_path() / "switchyard_ckpt_XXXXXX").string();
    path = mkdtemp(name.data());
  }
  ~TempFolder() { fs::remove_all(path); }
  std::string str() const { return path.string(); }
  std::string operator/(const std::string& name) const { return (path / name).string(); }
};

// A model of 3 dense tensors and one set of E experts as `rank` of `ranks` holds it: values are a function
// of (path, global index, salt), so that any rank knows what it must find.
constexpr int64_t kExperts = 6, kWidth = 5;
float value(const std::string& path, int64_t index, int64_t salt) {
  return float((std::hash<std::string>()(path) % 1000 + uint64_t(index * 7 + salt * 31)) % 997) / 8;
}
Tensor values(const std::string& path, Shape shape, int64_t first, int64_t salt) {
  Tensor t = Tensor::empty(shape);
  const int64_t row = t.numel() / shape[0];
  for (int64_t i = 0; i < t.numel(); ++i) t.data<float>()[i] = value(path, first * row + i, salt);
  return t;
}
std::vector<CheckpointEntry> entries(int rank, int ranks, int64_t salt,
                                     int64_t experts = kExperts) {
  std::vector<CheckpointEntry> list;
  for (const char* group : {"/model/", "/optimizer/m/", "/optimizer/v/"}) {
    for (int i = 0; i < 3; ++i) {
      const std::string path = concat(group, "layer/", i, "/weight");
      list.push_back({path, values(path, {4 + i, kWidth}, 0, salt), {4 + i, kWidth}});
    }
    const std::string path = concat(group, "moe/experts/weight");
    const int64_t local = std::max<int64_t>(1, experts / ranks);
    const int64_t first = experts >= ranks ? rank * local : rank % experts;
    list.push_back(
        {path, values(path, {local, 3, kWidth}, first, salt), {experts, 3, kWidth}, first});
  }
  list.push_back({"/optimizer/step/layer/0/weight", Tensor::of(std::vector<int64_t>{salt}), {1}});
  return list;
}
Snapshot snapshot(const dist::Runtime& rt, int64_t update, int64_t experts = kExperts) {
  Snapshot s;
  s.update = update;
  s.tensors = entries(rt.world.rank(), rt.world.size(), update, experts);
  s.state = {
      {"ranks", int64_t(rt.world.size())}, {"best", 0.1}, {"data", std::string("{\"a\":1}")}};
  s.config = "arch = \"tiny\"\n";
  s.tokenizer = std::string("t\0k", 3);
  s.vocabulary = {"<s>", "a",
                  "\xe2\x96\x81"
                  "b"};
  return s;
}

// Thread ranks that write as if each lived in a process of its own (or `processes` of them)
void pretend_processes(dist::Runtime& rt, int processes) {
  rt.processes = processes;
  rt.process = rt.process_of(rt.world.rank());
}

void save(const std::string& folder, int ranks, std::vector<int64_t> updates,
          bool asynchronous = false, int keep = 0, int64_t experts = kExperts, int processes = 0) {
  dist::run_ranks(ranks, [&](dist::Runtime& rt) {
    pretend_processes(rt, processes > 0 ? processes : ranks);
    CheckpointWriter writer(folder, rt, asynchronous, keep);
    for (int64_t update : updates) {
      const Snapshot now = snapshot(rt, update, experts);
      writer.begin(now, update == updates[0]);
      EXPECT_TRUE(writer.in_flight());
      while (asynchronous &&
             rt.world.all_reduce(int64_t(writer.shard_done()), dist::Reduce::Min) == 0)
        usleep(200);
      EXPECT_EQ(writer.finish(), "");
      EXPECT_FALSE(writer.in_flight());
    }
  });
}

std::string combined(const std::string& folder) { return digest(open_checkpoint(folder)).combined; }

std::string error_of(const std::function<void()>& fn) {
  try {
    fn();
  } catch (const UserError& e) {
    return e.what();
  }
  return "";
}

TEST(Checkpoint, LoadsAtAnyNumberOfRanks) {
  TempFolder folder;
  for (const auto& [experts, processes] : {std::pair{12, 4}, {12, 3}, {12, 1}, {2, 4}}) {
    const int64_t update = 100 + experts + processes;
    save(folder.str(), 4, {update}, false, 0, experts, processes);
    const std::string step = folder / step_folder_name(update);
    EXPECT_EQ(read_manifest(step).files.size(), size_t(processes) + 1);
    for (int ranks : {1, 2, 3, 4}) {
      if (ranks == 3 && experts == 2) continue;
      dist::run_ranks(ranks, [&](dist::Runtime& rt) {
        const int rank = rt.world.rank();
        const auto expected = entries(rank, ranks, update, experts);
        auto loaded = expected;
        for (auto& e : loaded) e.tensor = zeros_like(e.tensor);
        load_checkpoint(step, loaded);
        for (size_t i = 0; i < loaded.size(); ++i)
          EXPECT_EQ(0, std::memcmp(loaded[i].tensor.raw(), expected[i].tensor.raw(),
                                   size_t(expected[i].tensor.bytes())))
              << loaded[i].path << " rank " << rank << " of " << ranks;
      });
    }
  }
}

TEST(Checkpoint, HoldsStateConfigAndAssets) {
  TempFolder folder;
  save(folder.str(), 2, {7});
  const Hdf5File c = open_checkpoint(resolve_checkpoint(folder.str()));
  EXPECT_EQ(c.read("/state/update").data<int64_t>()[0], 7);
  EXPECT_EQ(c.attr<int64_t>("/state", "ranks"), 2);
  EXPECT_EQ(c.attr<double>("/state", "best"), 0.1);
  EXPECT_EQ(c.attr<std::string>("/state", "data"), "{\"a\":1}");
  EXPECT_EQ(c.read_bytes("/config"), "arch = \"tiny\"\n");
  EXPECT_EQ(c.read_bytes("/tokenizer"), std::string("t\0k", 3));
  EXPECT_EQ(c.read_strings("/vocabulary").size(), 3u);
  EXPECT_EQ(c.shape("/model/moe/experts/weight"), (Shape{kExperts, 3, kWidth}));
}

TEST(Checkpoint, DigestDependsOnValuesOnly) {
  TempFolder a, b, c, d;
  save(a.str(), 1, {5});
  save(b.str(), 3, {5});
  save(c.str(), 6, {5}, true, 0, kExperts, 4);
  save(d.str(), 2, {6});
  const std::string name = step_folder_name(5);
  EXPECT_EQ(combined(a / name), combined(b / name));
  EXPECT_EQ(combined(a / name), combined(c / name));
  EXPECT_NE(combined(a / name), combined(d / step_folder_name(6)));
  EXPECT_EQ(first_difference(open_checkpoint(a / name), open_checkpoint(c / name)), "");
  const auto difference =
      first_difference(open_checkpoint(a / name), open_checkpoint(d / step_folder_name(6)));
  EXPECT_NE(difference.find("/model/layer/0/weight: element 0 is"), std::string::npos)
      << difference;
  EXPECT_NE(difference.find("ulps"), std::string::npos) << difference;
}

TEST(Checkpoint, EveryRowIsWrittenOnceAndTheWorkIsSpread) {
  TempFolder folder;
  save(folder.str(), 4, {1}, false, 0, 2, 4);
  std::map<std::string, std::set<int64_t>> rows;  // by path
  std::vector<int64_t> bytes(4, 0);
  for (const auto& file : read_manifest(folder / step_folder_name(1)).files)
    for (const auto& piece : file.datasets) {
      EXPECT_TRUE(rows[piece.path].insert(piece.first_row).second) << piece.path;
      EXPECT_NE(piece.path.find("experts") != std::string::npos, piece.rows == piece.whole[0]);
      bytes[size_t(piece.rank)] += piece.bytes;
    }
  EXPECT_EQ(rows.size(), 3u * 4u + 1u);
  EXPECT_EQ(rows["/model/moe/experts/weight"], (std::set<int64_t>{0, 1}));
  for (int64_t b : bytes) EXPECT_GT(b, 0);
}

TEST(Checkpoint, AnExpertThatNobodyHoldsIsAnError) {
  TempFolder folder;
  EXPECT_THROW(dist::run_ranks(2,
                               [&](dist::Runtime& rt) {
                                 CheckpointWriter writer(folder.str(), rt, false);
                                 Snapshot s = snapshot(rt, 1, 2);
                                 if (rt.world.rank() == 1) s.tensors.erase(s.tensors.begin() + 3);
                                 writer.begin(s);
                               }),
               Error);
}

TEST(Checkpoint, AnotherModelIsRefusedWithAllCulprits) {
  TempFolder folder;
  save(folder.str(), 2, {5});
  auto list = entries(0, 1, 5);
  list[0].tensor = Tensor::zeros({9, kWidth});
  list[0].whole = {9, kWidth};
  list[1].path = "/model/layer/1/bias";
  const std::string error = error_of([&] { load_checkpoint(folder / step_folder_name(5), list); });
  EXPECT_NE(error.find("/model/layer/0/weight is f32 [4, 5] instead of f32 [9, 5]"),
            std::string::npos);
  EXPECT_NE(error.find("/model/layer/1/bias is missing"), std::string::npos) << error;
  EXPECT_NE(error.find("/model/layer/1/weight is unknown"), std::string::npos) << error;
}

TEST(Checkpoint, LinksPruningAndLatest) {
  TempFolder folder;
  save(folder.str(), 2, {10, 20, 30, 40, 40}, false, 2);
  EXPECT_EQ(fs::read_symlink(folder / "checkpoint_last"), "step_00000040");
  EXPECT_EQ(fs::read_symlink(folder / "checkpoint_best"), "step_00000010");
  EXPECT_TRUE(fs::exists(folder / "step_00000030") && fs::exists(folder / "step_00000010"));
  EXPECT_FALSE(fs::exists(folder / "step_00000020"));
  EXPECT_EQ(find_checkpoint(folder.str(), "latest").folder, folder / "step_00000040");
  EXPECT_EQ(find_checkpoint(folder.str(), "best").folder, folder / "step_00000010");
  // Going back: 20 is written after 40, and is the newest then; 40 written again replaces the old one.
  save(folder.str(), 1, {20});
  EXPECT_EQ(find_checkpoint(folder.str(), "latest").folder, folder / "step_00000020");
  save(folder.str(), 1, {40});
  EXPECT_EQ(find_checkpoint(folder.str(), "latest").folder, folder / "step_00000040");
  EXPECT_FALSE(fs::exists(folder / "step_00000040/shard_00001.h5"));
  // A damaged newest one is passed over, with a warning that names it.
  fs::resize_file(folder / "step_00000040/shard_00000.h5", 100);
  const auto found = find_checkpoint(folder.str(), "latest");
  EXPECT_EQ(found.folder, folder / "step_00000020");
  ASSERT_EQ(found.warnings.size(), 1u);
  EXPECT_NE(found.warnings[0].find("step_00000040 is damaged: shard_00000.h5"), std::string::npos);
  EXPECT_THROW(find_checkpoint(folder.str(), folder / "step_00000040"), UserError);
  EXPECT_EQ(find_checkpoint(folder / "none", "latest").folder, "");
  EXPECT_THROW(find_checkpoint(folder / "none", "best"), UserError);
}

// Any flip, truncation, missing or swapped file is refused and named.
TEST(Checkpoint, DamageIsRefusedByName) {
  TempFolder folder;
  save(folder.str(), 3, {5, 6});
  const fs::path step = folder / step_folder_name(6), other = folder / step_folder_name(5);
  std::vector<fs::path> files;
  for (const auto& item : fs::directory_iterator(step)) files.push_back(item.path());
  std::sort(files.begin(), files.end());
  std::map<std::string, std::string> good;
  for (const auto& file : files) good[file.string()] = read_text(file.string());
  std::mt19937 random(3);
  int datasets_named = 0;
  for (int i = 0; i < 1000; ++i) {
    const fs::path file = files[random() % files.size()];
    std::string bytes = good[file.string()];
    const int kind = i % 10;
    if (kind < 6) bytes[random() % bytes.size()] ^= char(1 << random() % 8);
    else if (kind < 8) bytes.resize(random() % bytes.size());
    else if (kind == 8) bytes = read_text((other / file.filename()).string());
    if (kind == 9) fs::remove(file);
    else std::ofstream(file, std::ios::binary) << bytes;
    const std::string error = error_of([&] { open_checkpoint(step.string()); });
    // A manifest of another checkpoint is whole itself: then the first other file is named
    const std::string name =
        kind == 8 && file.filename() == "manifest.json" ? "model.h5" : file.filename().string();
    EXPECT_NE(error.find(name), std::string::npos) << "case " << i << ": " << error;
    datasets_named += error.find("first damaged dataset: /") != std::string::npos;
    std::ofstream(file, std::ios::binary) << good[file.string()];
  }
  EXPECT_GT(datasets_named, 20);
  EXPECT_EQ(verify_files(step.string()), step.string());
}

// Runs fn in a child process; its exit code, or 128 + the signal that ended it
int in_child(const std::function<int()>& fn, int kill_after_us = -1) {
  const pid_t child = fork();
  if (child == 0) {
    int code = 99;
    try {
      code = fn();
    } catch (const std::exception& e) {
      std::fprintf(stderr, "child: %s\n", e.what());
    }
    _exit(code);
  }
  if (kill_after_us >= 0) {
    usleep(useconds_t(kill_after_us));
    kill(child, SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Writing fails at a different byte each time: an error on all ranks, no folder left, the old one whole.
TEST(Checkpoint, FailedWriteLeavesThePreviousOne) {
  for (bool asynchronous : {false, true}) {
    TempFolder folder;
    save(folder.str(), 2, {5});
    const std::string before = combined(folder / "checkpoint_last");
    for (int64_t limit = 0; limit < 8000; limit += 400) {
      const int code = in_child([&] {
        std::atomic<int> refused = 0;
        signal(SIGXFSZ, SIG_IGN);
        const rlimit full = {rlim_t(limit), rlim_t(limit)};
        setrlimit(RLIMIT_FSIZE, &full);
        dist::run_ranks(2, [&](dist::Runtime& rt) {
          pretend_processes(rt, 2);
          CheckpointWriter writer(folder.str(), rt, asynchronous);
          const Snapshot now = snapshot(rt, 6);
          writer.begin(now);
          refused += !writer.finish().empty();
          if (writer.in_flight()) refused = -10;
        });
        return refused == 2 ? 0 : 1;
      });
      EXPECT_EQ(code, 0) << "limit " << limit;
      EXPECT_EQ(combined(folder / "checkpoint_last"), before);
      EXPECT_EQ(step_folders(folder.str()).size(), 1u);
      EXPECT_FALSE(fs::exists(folder / ".tmp_step_00000006")) << "limit " << limit;
    }
  }
}

TEST(Checkpoint, KilledWriterLeavesAWholeOne) {
  TempFolder folder;
  save(folder.str(), 2, {1});
  std::mt19937 random(5);
  for (int i = 0; i < 20; ++i) {
    const int code = in_child(
        [&] {
          dist::run_ranks(2, [&](dist::Runtime& rt) {
            pretend_processes(rt, 1 + i / 2 % 2);
            CheckpointWriter writer(folder.str(), rt, i % 2 == 0, 3);
            for (int64_t update = 2; update < 100000; ++update) {
              const Snapshot now = snapshot(rt, update);
              writer.begin(now, update % 3 == 0);
              writer.finish();
            }
          });
          return 0;
        },
        int(random() % 100000));
    ASSERT_EQ(code, 128 + SIGKILL);
    const FoundCheckpoint found = find_checkpoint(folder.str(), "latest");
    ASSERT_NE(found.folder, "");
    EXPECT_TRUE(found.warnings.empty()) << found.warnings[0];
    const int64_t update = read_manifest(found.folder).update;
    auto list = entries(0, 1, update);
    const std::vector<CheckpointEntry> expected = entries(0, 1, update);
    load_checkpoint(found.folder, list);
    EXPECT_EQ(list[3].tensor.to_vector<float>(), expected[3].tensor.to_vector<float>());
    EXPECT_TRUE(fs::exists(folder / "checkpoint_last/manifest.json"));
  }
  save(folder.str(), 1, {200000});
  for (const auto& item : fs::directory_iterator(folder.path))
    EXPECT_FALSE(item.path().filename().string().starts_with(".tmp_")) << item.path();
}

TEST(Checkpoint, DiskAndFolderAreCheckedFirst) {
  TempFolder folder;
  const std::string error = error_of([&] { check_free_space(folder.str(), int64_t(1) << 60); });
  EXPECT_NE(error.find("too full"), std::string::npos) << error;
  std::ofstream(folder / "file") << "x";
  dist::run_ranks(1, [&](dist::Runtime& rt) {
    EXPECT_THROW(CheckpointWriter(folder / "file/checkpoints", rt, false), UserError);
  });
  EXPECT_THROW(resolve_checkpoint(folder.str()), UserError);
  EXPECT_THROW(resolve_checkpoint(folder / "none"), UserError);
}

}  // namespace
}  // namespace switchyard
