// apps/report: what it reads from a run folder, and the page it makes of it.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "apps/common/report_page.h"
#include "tensor/check.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

class Folder {
 public:
  explicit Folder(const std::string& log, const std::string& config = "") {
    path = fs::temp_directory_path() / concat("switchyard_report_", getpid(), "_", next_++);
    fs::create_directories(path);
    std::ofstream(path / "log.jsonl") << log;
    if (!config.empty()) std::ofstream(path / "config.toml") << config;
  }
  ~Folder() { fs::remove_all(path); }
  fs::path path;

 private:
  static inline int next_ = 0;
};

RunHistory read(const std::string& log, const std::string& config = "") {
  return RunHistory(Folder(log, config).path.string());
}

std::string error_of(const std::string& log) {
  try {
    read(log);
  } catch (const UserError& error) {
    return error.what();
  }
  return "no error";
}

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++n;
  return n;
}

// One train record as train_hmoe writes it; choices of 4 experts
std::string train(int update, const std::string& loss = "4.5",
                  const std::string& block = "encoder/1/moe",
                  const std::string& choices = "10,20,30,40") {
  return concat(
      "{\"kind\":\"train\",\"update\":", update, ",\"loss\":", loss,
      ",\"ppl\":9,\"lr\":1e-3,\"gnorm\":0.5,\"tokens\":1000,\"tokens_per_second\":500,",
      "\"peak_mib\":7,\"ms\":{\"compute\":5,\"communication\":2,\"data\":1},\"layers\":{\"", block,
      "/first_choices\":[", choices, "],\"", block, "/asked\":[90,10],\"", block,
      "/over_capacity\":[5,5],\"", block, "/rounds\":[150,100]},\"communication\":",
      "{\"all_to_all\":{\"node\":{\"messages\":2,\"bytes\":50,\"carried_bytes\":8}}}}\n");
}

std::string valid(int update, double loss) {
  return concat("{\"kind\":\"valid\",\"update\":", update, ",\"loss\":", loss,
                ",\"nll_loss\":3,\"ppl\":8}\n");
}

TEST(Report, ReadsARun) {
  const RunHistory run =
      read(train(10) + train(20) + valid(20, 3.5) + train(30, "4.25") + valid(30, 3.75),
           "# Run\nranks = 4\nhmoe-dynamic = \"1,3\"\n");
  EXPECT_EQ(run.updates, 30);
  EXPECT_EQ(run.score("run", "tokens"), 3000);
  EXPECT_EQ(run.score("run", "tokens per second"), 500);
  EXPECT_EQ(run.score("run", "peak MiB"), 7);
  EXPECT_EQ(run.score("run", "best loss"), 3.5);
  EXPECT_EQ(run.score("run", "best update"), 20);
  EXPECT_EQ(run.curve("train/loss").y, (std::vector<double>{4.5, 4.5, 4.25}));
  EXPECT_EQ(run.curve("valid/loss").x, (std::vector<double>{20, 30}));
  EXPECT_EQ(run.curve("train/dropped").y.back(), 10);  // %
  EXPECT_EQ(run.curve("encoder/1/moe/rounds").y.back(), 1.5);
  EXPECT_EQ(run.blocks.at("encoder/1/moe").choices.at(2), (std::vector<double>{10, 20, 30, 40}));
  EXPECT_EQ(run.traffic.at({"all_to_all", "node"}).at("bytes"), 150);
  EXPECT_EQ(run.config.at("hmoe-dynamic"), "1,3");
  EXPECT_TRUE(run.curve("no/such").x.empty());
}

TEST(Report, BlocksAreInTheOrderOfTheData) {
  std::string log;
  for (const char* block : {"decoder/1/moe", "encoder/11/moe", "encoder/3/moe"})
    log += train(10, "4", block);
  std::vector<std::string> names;
  for (const auto& [name, block] : read(log).blocks) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"encoder/3/moe", "encoder/11/moe", "decoder/1/moe"}));
}

TEST(Report, PageOfOneRun) {
  RunHistory run = read(train(10) + train(20) + valid(20, 3.5),
                        "hmoe-layer = 2\nhmoe-dynamic = \"1,3\"\nseed = 7\n");
  run.name = "my run";
  const std::string page = report::page({run});
  for (const char* part :
       {"<!DOCTYPE html>", "<title>my run</title>", ">3.5<", ">Loss ", ">Perplexity ",
        ">Learning rate ", ">Gradient norm ", ">Throughput ", ">encoder/1/moe <span>4 experts",
        ">Rounds per token by block ", ">Time of an update ", "all_to_all", "All options"})
    EXPECT_EQ(count(page, part) > 0, true) << part;
  for (const char* part :
       {"<script", "http:", "https:", "nan", "inf,", "src="})  // nothing is fetched
    EXPECT_EQ(count(page, part), 0u) << part;
  EXPECT_EQ(count(page, "<svg"), count(page, "</svg>"));
  // shares 0.1, 0.2, 0.3, 0.4 of 4 experts are 0.4, 0.8, 1.2, 1.6 equal shares: levels 2, 4, 4, 5
  EXPECT_EQ(count(page, "cells h2' d='M0 0h2'"), 1u);
  EXPECT_EQ(count(page, "cells h4' d='M0 1h2M0 2h2'"), 1u);
  EXPECT_EQ(count(page, "cells h5' d='M0 3h2'"), 1u);
  EXPECT_EQ(count(page, "class=stratum"), 1u);
}

TEST(Report, ComparesRuns) {
  RunHistory a = read(train(10) + valid(10, 3.5), "seed = 1\nlr = 2\n");
  RunHistory b = read(train(10) + valid(10, 3.25), "seed = 2\nlr = 2\n");
  RunHistory c = read(train(10));  // no validation, no config
  a.name = "a", b.name = "b", c.name = "c";
  b.scores["mean"]["BLEU"] = 31.5;
  a.scores["mean"]["BLEU"] = 30;
  const std::string page = report::page({a, b, c});
  EXPECT_EQ(count(page, "Comparison of 3 runs") > 0, true);
  EXPECT_EQ(count(page, "<td class=best>3.2500"), 1u);
  EXPECT_EQ(count(page, "<td class=best>31.50"), 1u);
  EXPECT_EQ(count(page, "<td>3.5000"), 1u);
  EXPECT_EQ(count(page, "<tr><td>seed<td>1<td>2<td>"), 1u);  // what differs
}

TEST(Report, ScoresBesideTheLog) {
  const Folder folder(train(10));
  fs::create_directory(folder.path / "translations");
  const fs::path file = folder.path / "translations/test.scores.json";
  std::ofstream(file)
      << R"({"schema":1,"directions":{"de-en":{"BLEU":20.0,"ppl":7.5},"fr-en":{"BLEU":
      23,"train_sentences":9}},"groups":{"high":{"BLEU":23.5,"directions":["fr-en"]}},"mean":{"BLEU":
      21.5,"chrF2":42.25,"ppl":7.25}})";
  const RunHistory run(folder.path.string());
  EXPECT_EQ(run.score("mean", "chrF2"), 42.25);
  EXPECT_EQ(run.score("directions/fr-en", "BLEU"), 23);
  const std::string page = report::page({run});
  for (const char* row :
       {"test BLEU<td>21.50", "test perplexity<td>7.25", ">fr-en<td>23.00", ">high<td>23.50"})
    EXPECT_EQ(count(page, row), 1u) << row;
  std::ofstream(file) << "{\"mean\":";
  EXPECT_THROW(RunHistory(folder.path.string()), UserError);
}

TEST(Report, LongLogsOfLargeModelsStaySmall) {
  RunHistory run;
  for (int update = 1; update <= 4000; ++update)  // noise with one spike
    for (const char* key : {"train/loss", "train/ppl", "train/gnorm", "train/rounds", "valid/loss"})
      run.curves[key].add(update, update == 3001 ? 1000 : 1 + std::fmod(update * 7.31, 5));
  for (int b = 0; b < 24; ++b)
    for (int update = 1; update <= 100; ++update) {
      ExpertLoad& block = run.blocks[concat("encoder/", b, "/moe")];
      block.updates.push_back(update), block.choices.emplace_back();
      for (int e = 0; e < 128; ++e) block.choices.back().push_back((e * e + update * e * 7) % 97);
      for (const char* what : {"dropped", "rounds"})
        run.curves[concat("encoder/", b, "/moe/", what)].add(update, update % 7);
    }
  const std::string page = report::page({run});
  EXPECT_LT(page.size(), 2'000'000u);
  EXPECT_GE(count(page, ",8.0L"), 5u);  // the spikes, at the top of their charts
  EXPECT_LT(report::page(std::vector<RunHistory>(report::kMaxRuns, run)).size(), 2'000'000u);
}

TEST(Report, EveryTextIsEscaped) {
  const std::string evil = "<b x='y'>&\xC3\xA9";
  RunHistory run = read(train(10, "4", "enc<i>/1/moe"), "a<b = \"" + evil + "\"\n");
  run.name = evil;
  run.traffic[{evil, evil}] = {{"bytes", 1}, {"carried_bytes", 1}, {"messages", 1}};
  const std::string page = report::page({run, read(train(10))});
  EXPECT_EQ(count(page, "<b"), count(page, "<body"));
  EXPECT_EQ(count(page, "<i>/1"), 0u);
  EXPECT_EQ(count(page, "&#60;b x=&#39;y&#39;&#62;&#38;\xC3\xA9") > 3, true);
}

TEST(Report, BadInput) {
  EXPECT_NE(error_of("").find("holds no record"), std::string::npos);
  EXPECT_NE(error_of("{\"a\":1}\nnoise\n[1]\n").find("holds no record"), std::string::npos);
  EXPECT_NE(error_of(train(10).substr(0, 90)).find("holds no record"), std::string::npos);  // torn
  EXPECT_THROW(RunHistory("/no/such/run"), UserError);
  EXPECT_THROW(RunHistory(fs::temp_directory_path().string()), UserError);
}

TEST(Report, DamagedLogsStillGiveAPage) {
  const RunHistory run = read(train(10, "null") + train(20, "1e300") + train(30, "\"text\"") +
                                  train(40, "-3", "x", "null,[],-1,1e99") +
                                  "{\"kind\":\"train\",\"update\":50,\"loss\":NaN}\n"
                                  "{\"kind\":7}\n[1]\n\n" +
                                  train(70).substr(0, 50),
                              "max-update = 70\n");
  EXPECT_EQ(run.unreadable, 5);
  EXPECT_EQ(run.curve("train/loss").x, std::vector<double>{40});
  const std::string page = report::page({run});
  EXPECT_EQ(count(page, "The log ends at update 40 of 70."), 1u);
  EXPECT_EQ(count(page, "could not be read: 5."), 1u);
  EXPECT_EQ(count(page, "nan"), 0u);
  for (const std::string& log :
       {std::string("{\"kind\":\"train\",\"update\":1,\"ms\":{\"compute\":1}}"),
        train(0, "0", "b", "0,0")})  // one record, all zero
    EXPECT_EQ(count(report::page({read(log)}), "nan"), 0u);
}

TEST(Report, CurvesHoldNumbersOnly) {
  Curve c;
  c.add(1, 2), c.add(2, NAN), c.add(3, INFINITY), c.add(4, 5), c.add(2, 1), c.add(4, 1);
  EXPECT_EQ(c.x, (std::vector<double>{1, 4, 4}));  // what goes back is left out
  EXPECT_EQ(c.y, (std::vector<double>{2, 5, 1}));
}

}  // namespace
}  // namespace switchyard
