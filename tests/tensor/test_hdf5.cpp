// HDF5 files: what is written is read back, equal contents give equal bytes, damage never crashes.
#include "tensor/hdf5.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace switchyard {
namespace {
namespace fs = std::filesystem;

struct TempFolder {
  fs::path path;
  TempFolder() {
    std::string name = (fs::temp_directory_path() / "switchyard_hdf5_XXXXXX").string();
    path = mkdtemp(name.data());
  }
  ~TempFolder() { fs::remove_all(path); }
  std::string operator/(const std::string& name) const { return (path / name).string(); }
};

std::string contents(const std::string& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

template <class T>
Tensor counting(Shape shape) {
  Tensor t = Tensor::empty(shape, kDTypeOf<T>);
  for (int64_t i = 0; i < t.numel(); ++i) t.data<T>()[i] = T(float(i % 100));
  return t;
}

bool same(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::memcmp(a.raw(), b.raw(), size_t(a.bytes())) == 0;
}

void write_sample(const std::string& file) {
  Hdf5File f = Hdf5File::create(file);
  f.write("/model/a/weight", counting<float>({4, 3}));
  f.write("/model/b", counting<double>({5}));
  f.write("/ids", counting<int64_t>({2, 2, 2}));
  f.write("/small", counting<int32_t>({3}));
  f.write("/bits", counting<uint8_t>({7}));
  f.write("/half", counting<BFloat16>({6}));
  f.write("/scalar", counting<float>({}));
  f.write("/empty", Tensor::empty({0, 3}));
  f.write_bytes("/raw", std::string("a\0b\n", 4));
  f.write_strings("/vocabulary", {"<s>", "", "h\xc3\xa9", "longer than the others"});
  f.set_attr("/", "text", std::string("some text"));
  f.set_attr("/", "nothing", std::string());
  f.set_attr("/model", "number", int64_t(1) << 60);
  f.set_attr("/model/b", "real", 0.3);
  f.close();
}

TEST(Hdf5, RoundTrip) {
  TempFolder folder;
  write_sample(folder / "x.h5");
  const Hdf5File f = Hdf5File::open(folder / "x.h5");
  EXPECT_TRUE(same(f.read("/model/a/weight"), counting<float>({4, 3})));
  EXPECT_TRUE(same(f.read("/model/b"), counting<double>({5})));
  EXPECT_TRUE(same(f.read("/ids"), counting<int64_t>({2, 2, 2})));
  EXPECT_TRUE(same(f.read("/small"), counting<int32_t>({3})));
  EXPECT_TRUE(same(f.read("/bits"), counting<uint8_t>({7})));
  EXPECT_TRUE(same(f.read("/half"), counting<BFloat16>({6})));
  EXPECT_TRUE(same(f.read("/scalar"), counting<float>({})));
  EXPECT_TRUE(same(f.read("/empty"), Tensor::empty({0, 3})));
  EXPECT_TRUE(same(f.read("/model/a/weight", 1, 2), counting<float>({4, 3}).slice(1, 3)));
  EXPECT_EQ(f.read_bytes("/raw"), std::string("a\0b\n", 4));
  EXPECT_EQ(f.read_strings("/vocabulary"),
            (std::vector<std::string>{"<s>", "", "h\xc3\xa9", "longer than the others"}));
  EXPECT_EQ(f.attr<std::string>("/", "text"), "some text");
  EXPECT_EQ(f.attr<std::string>("/", "nothing"), "");
  EXPECT_EQ(f.attr<int64_t>("/model", "number"), int64_t(1) << 60);
  EXPECT_EQ(f.attr<double>("/model/b", "real"), 0.3);
  EXPECT_EQ(f.datasets("/model"), (std::vector<std::string>{"/model/a/weight", "/model/b"}));
  EXPECT_EQ(f.datasets().size(), 10u);
  EXPECT_EQ(f.attrs("/"), (Attributes{{"nothing", ""}, {"text", "some text"}}));
  EXPECT_TRUE(f.datasets("/nowhere").empty());
  EXPECT_EQ(f.shape("/ids"), (Shape{2, 2, 2}));
  EXPECT_EQ(f.dtype("/half"), DType::BF16);
  EXPECT_TRUE(f.exists("/model/a") && f.exists("/model/a/weight") && f.exists("/"));
  EXPECT_FALSE(f.exists("/model/c") || f.exists("/nowhere/c/d"));
}

TEST(Hdf5, OffsetFindsTheBytes) {
  TempFolder folder;
  write_sample(folder / "x.h5");
  const Hdf5File f = Hdf5File::open(folder / "x.h5");
  const std::string bytes = contents(folder / "x.h5");
  const Tensor b = counting<double>({5});
  const int64_t at = f.offset("/model/b");
  ASSERT_GT(at, 0);
  EXPECT_EQ(bytes.substr(size_t(at), 40), std::string(reinterpret_cast<char*>(b.raw()), 40));
  EXPECT_EQ(f.offset("/empty"), -1);
}

TEST(Hdf5, ErrorsNameFileAndPath) {
  TempFolder folder;
  write_sample(folder / "x.h5");
  const Hdf5File f = Hdf5File::open(folder / "x.h5");
  auto message = [&](const std::function<void()>& fn) {
    try {
      fn();
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  const std::string missing = message([&] { f.read("/model/z"); });
  EXPECT_NE(missing.find("x.h5"), std::string::npos) << missing;
  EXPECT_NE(missing.find("/model/z"), std::string::npos) << missing;
  EXPECT_THROW(f.attr<int64_t>("/", "text"), Error);
  EXPECT_THROW(f.attr<std::string>("/", "other"), Error);
  EXPECT_THROW(f.attr<std::string>("/model", "number"), Error);
  EXPECT_THROW(f.read("/model/b", 3, 3), Error);
  EXPECT_THROW(f.read("/model/b", -1, 3), Error);
  EXPECT_THROW(f.read("/vocabulary"), Error);
  EXPECT_THROW(f.read_strings("/ids"), Error);
  EXPECT_THROW(f.read("/model"), Error);
  EXPECT_THROW(Hdf5File::open(folder / "none.h5"), UserError);
  EXPECT_THROW(Hdf5File::create(folder / "none/x.h5"), Error);
  std::ofstream(folder / "text.h5") << "no HDF5 at all";
  EXPECT_THROW(Hdf5File::open(folder / "text.h5"), UserError);
}

TEST(Hdf5, EqualContentsGiveEqualBytes) {
  TempFolder folder;
  write_sample(folder / "x.h5");
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // HDF5 times count in seconds
  write_sample(folder / "y.h5");
  EXPECT_EQ(contents(folder / "x.h5"), contents(folder / "y.h5"));
}

TEST(Hdf5, VirtualDatasetsReadTheirSources) {
  TempFolder folder;
  const Tensor whole = counting<float>({6, 2});
  for (int part = 0; part < 2; ++part) {
    Hdf5File f = Hdf5File::create(folder / concat("part", part, ".h5"));
    f.write("/w", whole.slice(3 * part, 3 * part + 3));
    f.close();
  }
  Hdf5File index = Hdf5File::create(folder / "index.h5");
  index.write_virtual("/model/w", {6, 2}, DType::F32,
                      {{"part0.h5", "/w", 0, 3}, {"part1.h5", "/w", 3, 3}});
  index.close();
  {
    const Hdf5File f = Hdf5File::open(folder / "index.h5");  // from another working folder
    EXPECT_TRUE(same(f.read("/model/w"), whole));
    EXPECT_TRUE(same(f.read("/model/w", 2, 2), whole.slice(2, 4)));
  }
  fs::remove(folder / "part1.h5");
  const Tensor gap = Hdf5File::open(folder / "index.h5").read("/model/w");
  EXPECT_EQ(gap.data<float>()[5], whole.data<float>()[5]);
  EXPECT_TRUE(std::isnan(gap.data<float>()[6]));
}

TEST(Hdf5, ReadsFixtureAttributes) {
  const char* given = getenv("SWITCHYARD_FIXTURES");
  const std::string folder = given ? given : SWITCHYARD_FIXTURES_DEFAULT;
  const Hdf5File f = Hdf5File::open(folder + "/hmoe_cmr_eval.h5");
  EXPECT_EQ(f.attr<std::string>("/", "case"), "cmr_eval");  // fixed length
  EXPECT_EQ(f.attr<int64_t>("/", "opt.moe_cmr"), 1);
  EXPECT_EQ(f.attr<double>("/", "opt.aux_weight"), 0.3);
}

// Reads everything; damage may only end in an Error.
void read_all(const std::string& file) {
  try {
    const Hdf5File f = Hdf5File::open(file);
    for (const auto& path : f.datasets()) {
      try {
        if (path == "/vocabulary") f.read_strings(path);
        else f.read(path);
        f.attrs(path);
      } catch (const Error&) {
      }
    }
    f.attr<std::string>("/", "text");
  } catch (const Error&) {
  }
}

// The library itself may fail on some damage, so each batch runs in a child process.
TEST(Hdf5, DamagedFilesDoNotCrash) {
  TempFolder folder;
  write_sample(folder / "x.h5");
  const std::string good = contents(folder / "x.h5");
  const pid_t child = fork();
  if (child == 0) {
    std::mt19937 random(1);
    for (int i = 0; i < 1000; ++i) {
      std::string bad = good;
      if (i % 4 == 0) bad.resize(random() % bad.size());
      else
        for (int flips = 0; flips <= i % 3; ++flips)
          bad[random() % bad.size()] ^= char(1 << random() % 8);
      std::ofstream(folder / "bad.h5", std::ios::binary) << bad;
      read_all(folder / "bad.h5");
    }
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
}

TEST(Hdf5, ManyThreads) {
  TempFolder folder;
  write_sample(folder / "x.h5");
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      for (int n = 0; n < 20; ++n) {
        const Hdf5File f = Hdf5File::open(folder / "x.h5");
        good += same(f.read("/model/b"), counting<double>({5}));
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(good, 160);
}

}  // namespace
}  // namespace switchyard
