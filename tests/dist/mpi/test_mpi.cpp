// run_main over processes: same bits at every P, uneven blocks, errors end everybody and are said once.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <chrono>
#include <cstdio>
#include <string>

#include "../job.h"

namespace switchyard::dist {
namespace {

struct Outcome {
  int code = -1;
  double seconds = 0;
  std::string text;  // stdout and stderr
  int count(const std::string& part) const {
    int n = 0;
    for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; ++at) ++n;
    return n;
  }
};

// processes = 0: without mpirun. Leak reports would be about Open MPI itself.
Outcome run(int processes, const std::string& args) {
  const std::string launcher =
      processes ? concat("mpirun --allow-run-as-root --oversubscribe -np ", processes, " ") : "";
  const std::string command = concat("ASAN_OPTIONS=detect_leaks=0 timeout -k 1 60 ", launcher,
                                     DIST_PROGRAM, " ", args, " 2>&1 </dev/null");
  const auto start = std::chrono::steady_clock::now();
  Outcome o;
  FILE* pipe = popen(command.c_str(), "r");
  char buffer[4096];
  while (size_t n = fread(buffer, 1, sizeof buffer, pipe)) o.text.append(buffer, n);
  const int status = pclose(pipe);
  o.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  o.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return o;
}

TEST(Mpi, SameBitsAtEveryProcessCount) {
  for (int ranks : {4, 7}) {
    uint64_t digest = 0;
    run_ranks(ranks, [&](Runtime& rt) {
      const uint64_t d = run_job(rt, 2);
      if (rt.world.rank() == 0) digest = d;
    });
    char line[64];
    std::snprintf(line, sizeof line, "digest %016lx\n", digest);
    for (int processes : {0, 1, 2, 3, 4}) {
      const Outcome o = run(processes, concat("digest ", ranks));
      EXPECT_EQ(o.code, 0) << o.text;
      EXPECT_EQ(o.text, line) << processes << " processes, " << ranks << " ranks";
    }
  }
}

TEST(Mpi, RanksAreCarriedInContiguousBlocks) {
  const Outcome o = run(3, "where 7");
  EXPECT_EQ(o.code, 0) << o.text;
  for (const char* part :
       {"rank 0 process 0 leads 1", "rank 2 process 0 leads 0", "rank 3 process 1 leads 1",
        "rank 4 process 1 leads 0", "rank 5 process 2 leads 1", "rank 6 process 2 leads 0"}) {
    EXPECT_EQ(o.count(part), 1) << part << "\n" << o.text;
  }
  EXPECT_EQ(run(3, "where").count("rank 2 process 2"), 1);  // one rank each
}

// 4 ranks in 2 processes. all_reduce of N bytes: each process sends half of its pre-added sum and half of the
// result. Padded exchange of 8 slots of 40 bytes: 2 x 2 pairs in each direction.
TEST(Mpi, WhatCrossesProcesses) {
  const Outcome o = run(2, "meter 4");
  EXPECT_EQ(o.text, concat("carried ", 2 * (4 << 16) + 8 * 8 * 40, "\n"));
  EXPECT_EQ(run(0, "meter 4").text, "carried 0\n");
}

TEST(Mpi, AFailingRankEndsEverybody) {
  for (int processes : {0, 1, 2, 4}) {
    Outcome o = run(processes, "error 4");
    EXPECT_EQ(o.code, 1) << o.text;
    EXPECT_EQ(o.count("[rank 3/4] the loss is not finite\n"), 1) << o.text;
    EXPECT_LT(o.seconds, 5);
    o = run(processes, "busy 4");  // the others compute and do not look
    EXPECT_EQ(o.code, 1) << o.text;
    EXPECT_EQ(o.count("[rank 3/4] the loss is not finite\n"), 1) << o.text;
    EXPECT_LT(o.seconds, 6);
    o = run(processes, "user 4");
    EXPECT_EQ(o.code, 2) << o.text;
    EXPECT_EQ(o.count("[rank 3/4] --rate x: expected a number\n"), 1) << o.text;
  }
}

TEST(Mpi, AnErrorOfAllRanksIsSaidOnce) {
  for (int processes : {0, 1, 3}) {
    const Outcome o = run(processes, "everywhere 6");
    EXPECT_EQ(o.code, 2) << o.text;
    EXPECT_EQ(o.count("--rate x"), 1) << o.text;
    EXPECT_EQ(o.count("[rank"), 0) << o.text;
  }
}

TEST(Mpi, PlanErrorsAndHelpAreSaidOnce) {
  for (int processes : {0, 1, 3}) {
    Outcome o = run(processes, "plan");
    EXPECT_EQ(o.code, 2) << o.text;
    EXPECT_EQ(o.count("unknown option --x\n"), 1) << o.text;
    EXPECT_EQ(o.count("MPI_ABORT"), 0) << o.text;
    o = run(processes, "help");
    EXPECT_EQ(o.code, 0) << o.text;
    EXPECT_EQ(o.text, "usage\n");
  }
  const Outcome o = run(3, "where 2");
  EXPECT_EQ(o.code, 2) << o.text;
  EXPECT_EQ(o.count("--ranks 2 is less than the 3 processes"), 1) << o.text;
}

TEST(Mpi, AKilledProcessEndsTheOthers) {
  const Outcome o = run(3, "kill 5");
  EXPECT_NE(o.code, 0);
  EXPECT_EQ(o.count("all ranks are here\n"), 1) << o.text;  // it ran at all
  EXPECT_GE(o.count("signal 9"), 1) << o.text;
  EXPECT_LT(o.seconds, 6) << o.text;
}

TEST(Mpi, SignalsStopTheRun) {
  for (int processes : {0, 2}) {
    EXPECT_EQ(run(processes, "signal 2").text, "stopped by 10\n");
    EXPECT_EQ(run(processes, "signals 2").code, 128 + 15);
  }
}

}  // namespace
}  // namespace switchyard::dist
