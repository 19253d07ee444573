// The files of a run: log.jsonl, TensorBoard events, the run folder; and the lines for people.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "apps/common/flags.h"
#include "apps/common/progress.h"
#include "apps/common/run_folder.h"
#include "apps/common/run_log.h"
#include "apps/common/tensorboard.h"
#include "apps/common/text_table.h"
#include "nn/checkpoint_files.h"
#include "tensor/check.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;
using namespace tensorboard;
using nlohmann::json;

class Folder {
 public:
  Folder() : path(fs::temp_directory_path() / concat("switchyard_log_", getpid(), "_", next_++)) {
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
  std::string operator/(const std::string& name) const { return path / name; }
  const fs::path path;

 private:
  static inline int next_ = 0;
};

void put(const std::string& path, const std::string& text) { std::ofstream(path) << text; }

template <class Fn>
std::string error_of(Fn fn) {
  try {
    fn();
  } catch (const UserError& error) {
    return error.what();
  }
  return "no error";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// The largest file of this process, in bytes, while the object lives: stands for a full disk.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) : old_handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit{bytes, old_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FullDisk() {
    setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, old_handler_);
  }

 private:
  rlimit old_;
  void (*old_handler_)(int);
};

// The records of a log without their time, which is checked to be there.
std::string without_time(const std::string& path) {
  std::istringstream lines(read_text(path));
  std::string out;
  for (std::string line; std::getline(lines, line);) {
    json record = json::parse(line);
    EXPECT_GT(record.value("time", 0.0), 1e9);
    record.erase("time");
    out += record.dump() + "\n";
  }
  return out;
}

TEST(RunLog, AppendsAndStartsAnew) {
  const Folder folder;
  const std::string path = folder / "log.jsonl";
  RunLog log(folder.path, 0);
  log.write({{"kind", "train"}, {"update", 1}, {"bad", "\xff"}});
  EXPECT_EQ(without_time(path),
            "{\"bad\":\"\xEF\xBF\xBD\",\"kind\":\"train\",\"update\":1}\n");  // at once
  { const RunLog anew(folder.path, 0); }
  EXPECT_EQ(read_text(path), "");
  EXPECT_TRUE(contains(error_of([&] { RunLog at(folder / "no/such", 0); }), "no/such/log"));
}

TEST(RunLog, ResumeCutsBackToTheCheckpoint) {
  const Folder folder;
  const std::string path = folder / "log.jsonl";
  const std::string kept = "{\"update\":1}\n{\"note\":2}\n{\"update\":5}\n";
  put(path,
      kept +
          "nonsense\n7\n{\"update\":6}\n{\"update\":\"x\"}\n{\"update\":4}\n{\"update\":3,\"torn");
  RunLog log(folder.path, 5);
  EXPECT_EQ(read_text(path), kept + "{\"update\":4}\n");
  log.write({{"update", 6}});
  EXPECT_EQ(read_text(path).rfind(kept + "{\"update\":4}\n{\"time\":", 0), 0u);
}

TEST(RunLog, FullDiskLosesRecordsButNeverTearsThem) {
  const Folder folder;
  const std::string path = folder / "log.jsonl";
  testing::internal::CaptureStderr();
  {
    RunLog log(folder.path, 0);
    log.write(
        {{"update", 1}, {"long", std::string(4000, 'x')}});  // more than standard error gets here
    {
      const FullDisk full(4030);
      log.write({{"update", 2}});
      log.write({{"update", 3}});
    }
    log.write({{"update", 4}});
  }
  const std::string said = testing::internal::GetCapturedStderr();
  const std::string text = without_time(path);
  EXPECT_EQ(text.substr(text.find(",\"update\":1")), ",\"update\":1}\n{\"update\":4}\n");
  EXPECT_TRUE(contains(said, "the run goes on")) << said;
  EXPECT_TRUE(contains(said, "lacks 2 records")) << said;
}

TEST(AtomicFile, OldOrNewNeverHalf) {
  const Folder folder;
  const std::string path = folder / "config.toml";
  write_durably(path, "old");
  {
    const FullDisk full(2);
    EXPECT_TRUE(contains(error_of([&] { write_durably(path, "newer"); }), "cannot be written"));
  }
  EXPECT_EQ(read_text(path), "old");
  EXPECT_FALSE(fs::exists(path + ".tmp"));
  EXPECT_TRUE(contains(error_of([&] { read_text(folder.path); }), "cannot be read"));
}

TEST(Progress, PlainLinesInAPipe) {
  std::ostringstream out;
  Progress progress(0, 10, false, out);
  progress.update(3.5, 1000);
  EXPECT_EQ(out.str(), "");
  progress.record({{"kind", "train"},
                   {"update", 10},
                   {"loss", 3.25},
                   {"ppl", 9.5},
                   {"gnorm", 1.5},
                   {"lr", 8e-4},
                   {"tokens_per_second", 12345.0},
                   {"ms", {{"step", 45.678}}}});
  const std::string line = out.str();
  EXPECT_EQ(
      line.substr(0, line.find(" | ETA")),
      "update 10/10 | loss 3.25 bits | ppl 9.5 | norm 1.5 | lr 0.0008 | 12.3k tokens/s | 45.68 ms");
  EXPECT_EQ(line.back(), '\n');
  progress.record({{"kind", "valid"}, {"update", 10}, {"loss", 3.0}, {"best", true}});
  EXPECT_EQ(out.str().substr(line.size()), "valid | update 10/10 | loss 3 bits | best so far\n");
}

TEST(Progress, OneLineOnATerminal) {
  std::ostringstream out;
  {
    Progress progress(8, 10, true, out);
    progress.update(3.5, 2.5e6);
    EXPECT_TRUE(contains(out.str(), "update 9/10 | loss 3.5 bits | 2.5M tokens/s | ETA 0:00:00"))
        << out.str();
    progress.record({{"kind", "train"}, {"update", 9}});
    progress.record({{"kind", "valid"}, {"update", 9}, {"best", true}});
    EXPECT_TRUE(contains(out.str(), "\r\033[Kvalid | update 9/10 | best so far\n")) << out.str();
    progress.update(3.5, 100);  // the last one is always shown
  }
  EXPECT_TRUE(contains(out.str(), "update 10/10")) << out.str();
  EXPECT_EQ(out.str().back(), '\n');
}

TEST(Progress, Durations) {
  EXPECT_EQ(format_duration(3723.4), "1:02:03");
  EXPECT_EQ(format_duration(0), "0:00:00");
  EXPECT_EQ(format_duration(-1), "-:--:--");
  EXPECT_EQ(format_duration(1.0 / 0.0), "-:--:--");
}

TEST(TensorBoard, KnownBytes) {
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);  // check value of the Castagnoli polynomial
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);  // RFC 3720 B.4
  const std::string event("\x09\0\0\0\0\0\0\xF0?\x10\xAC\x02*\x0D\n\x0B\n\x04loss\x15\0\0\0?", 27);
  EXPECT_EQ(scalar_event(1.0, 300, "loss", 0.5f), event);
  EXPECT_EQ(version_event(1.0), std::string("\x09\0\0\0\0\0\0\xF0?\x1A\x0D"
                                            "brain.Event:2",
                                            24));
  const std::string record = tfrecord(event);
  EXPECT_EQ(record.size(), event.size() + 16);
  // as TensorFlow's own writer frames the same bytes
  EXPECT_EQ(record.substr(0, 12),
            std::string("\033\000\000\000\000\000\000\000\032\015\236\023", 12));
  EXPECT_EQ(record.substr(12 + event.size()), std::string("\116\134\037\321", 4));
}

// The only event file of a run folder
std::string events(const fs::path& folder) {
  const std::vector<fs::path> files(fs::directory_iterator(folder / "tb"), {});
  EXPECT_EQ(files.size(), 1u);
  EXPECT_TRUE(contains(files[0].filename(), "events.out.tfevents."));
  return read_text(files[0]);
}

TEST(TensorBoard, HoldsTheNumbersOfTheLogAlsoAfterAResume) {
  const Folder folder;
  {
    RunLog log(folder.path, 0);
    for (const int64_t step : {1, 200, 300})
      log.write({{"kind", "train"},
                 {"update", step},
                 {"loss", 1.0 / double(step)},
                 {"ms", {{"step", 2.5}}},
                 {"layers", {{"rounds", {1.0, 2.0}}}}});
  }
  const auto expect_events_of_log = [&] {
    std::istringstream lines(read_text(folder / "log.jsonl"));
    const std::string found = events(folder.path);
    size_t at = tfrecord(version_event(1.0)).size();
    for (std::string line; std::getline(lines, line);) {
      const json r = json::parse(line);
      const auto expect = [&](const std::string& tag, float value) {
        const std::string event = tfrecord(scalar_event(r["time"], r["update"], tag, value));
        EXPECT_EQ(found.substr(at, event.size()), event) << line;
        at += event.size();
      };
      expect("train/loss", r["loss"]);
      expect("train/ms_step", 2.5f);
    }
    EXPECT_EQ(at, found.size());
  };
  expect_events_of_log();
  const size_t before = events(folder.path).size();
  std::ofstream(folder / "log.jsonl", std::ios::app) << "torn";
  RunLog resumed(folder.path, 200);
  expect_events_of_log();
  EXPECT_LT(events(folder.path).size(), before);
}

TEST(RunFolder, DefaultName) {
  const Folder folder;
  const fs::path before = fs::current_path();
  fs::current_path(folder.path);
  {
    RunFolder one("", "train_x", false, false), two("", "train_x", false, false);
    EXPECT_EQ(one.path.rfind("runs/train_x-20", 0), 0u);
    EXPECT_NE(one.path, two.path);
  }
  fs::current_path(before);
}

TEST(RunFolder, OneRunAtATime) {
  const Folder folder;
  const std::string path = folder / "run";
  {
    const RunFolder first(path, "app", false, false);
    for (const bool flag : {false, true}) {
      const std::string error = error_of([&] { RunFolder(path, "app", flag, !flag); });
      EXPECT_TRUE(contains(error, "used by another run (process " + std::to_string(getpid())))
          << error;
      EXPECT_TRUE(contains(error, path)) << error;
    }
  }
  EXPECT_EQ(error_of([&] { RunFolder(path, "app", false, false); }),
            "no error");  // released, and no run yet
}

TEST(RunFolder, ARunIsKeptUnlessAskedOtherwise) {
  const Folder folder;
  const std::string path = folder / "run";
  RunFolder(path, "app", false, false);
  put(path + "/config.toml", "x");
  fs::create_directories(path + "/checkpoints/step_1");
  put(path + "/notes.txt", "mine");
  const std::string error = error_of([&] { RunFolder(path, "app", false, false); });
  EXPECT_TRUE(contains(error, "--resume latest") && contains(error, "--overwrite") &&
              contains(error, path))
      << error;
  RunFolder(path, "app", true, false);
  EXPECT_TRUE(fs::exists(path + "/checkpoints/step_1"));
  RunFolder(path, "app", false, true);
  EXPECT_FALSE(fs::exists(path + "/checkpoints"));
  EXPECT_FALSE(fs::exists(path + "/config.toml"));
  EXPECT_EQ(read_text(path + "/notes.txt"), "mine");
}

TEST(RunFolder, UnusableFolders) {
  const Folder folder;
  put(folder / "file", "x");
  for (const std::string& path :
       {folder / "file", folder / "file/sub", std::string("/proc/no/such")}) {
    const std::string error = error_of([&] { RunFolder(path, "app", false, false); });
    EXPECT_TRUE(contains(error, "--save-dir") && contains(error, path)) << error;
  }
}

TEST(TextTable, AlignsTextLeftAndNumbersRight) {
  TextTable table({"pair", "BLEU"});
  table.row({"de-en", "9.5"});
  table.row({"né", "-"});
  table.row({"x", "100.0"});
  EXPECT_EQ(table.text(), "pair    BLEU\nde-en    9.5\nné         -\nx      100.0\n");
  EXPECT_THROW(table.row({"a"}), Error);
}

TEST(Version, SaysWhatABugReportNeeds) {
  const std::string text = parse_flags({}, {"--version"}, "app", "").text;
  for (const char* part : {"app (Switchyard ", "commit", "GCC", "avx", "MPI", "CUDA"})
    EXPECT_TRUE(contains(text, part)) << part;
}

}  // namespace
}  // namespace switchyard
