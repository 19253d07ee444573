// A program for test_mpi.cpp: `dist_program MODE [R]`, with or without mpirun.
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "../job.h"

using namespace switchyard;
using namespace switchyard::dist;

static void time_all_reduce(Runtime& rt) {
  Tensor t = random_tensor({1 << 20}, uint64_t(rt.world.rank()));
  double best = 1e9;
  for (int i = 0; i < 30; ++i) {
    rt.world.barrier();
    const auto start = std::chrono::steady_clock::now();
    rt.world.all_reduce(t, Reduce::Max);
    const std::chrono::duration<double> s = std::chrono::steady_clock::now() - start;
    best = std::min(best, s.count());
  }
  Tensor one = Tensor::zeros({16});
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 1000; ++i) rt.world.all_reduce(one);
  const std::chrono::duration<double> s = std::chrono::steady_clock::now() - start;
  if (rt.world.rank() == 0)
    std::printf("all_reduce 4 MiB %.2f ms, 64 bytes %.1f us\n", best * 1e3, s.count() * 1e3);
}

static void rank_main(Runtime& rt, const std::string& mode) {
  const int me = rt.world.rank(), last = rt.world.size() - 1;
  if (mode == "digest") {
    const uint64_t digest = run_job(rt, 2);
    if (me == 0) std::printf("digest %016lx\n", digest);
  } else if (mode == "where") {
    std::printf("rank %d process %d leads %d threads %d cpus %d node %d of %d\n", me, rt.process,
                int(rt.leads_process()), rt.threads_per_rank, rt.cpus, rt.topology.node_of(me),
                rt.processes);
  } else if (mode == "meter") {
    Tensor t = Tensor::zeros({1 << 16});
    rt.world.meter().reset();
    rt.world.all_reduce(t);
    std::vector<int64_t> one(rt.world.size(), 1);
    rt.world.all_to_all_v(Tensor::zeros({rt.world.size(), 10}), one, one, ExchangeMode::Padded, 8);
    int64_t carried = 0;
    for (const auto& [_, t] : rt.world.meter().entries) carried += t.carried_bytes;
    carried = rt.world.all_reduce(carried, Reduce::Sum);
    if (me == 0) std::printf("carried %ld\n", long(carried));
  } else if (mode == "time") {
    time_all_reduce(rt);
  } else if (mode == "error" || mode == "user" || mode == "busy") {
    rt.world.barrier();
    if (me == last) {
      if (mode == "user") throw UserError("--rate x: expected a number");
      throw Error("the loss is not finite");
    }
    for (volatile double x = 0; mode == "busy";) x = x + 1;
    rt.world.barrier();
  } else if (mode == "everywhere") {
    throw UserError("--rate x: expected a number");
  } else if (mode == "kill") {
    if (rt.world.all_reduce(int64_t{1}, Reduce::Sum) == last + 1 && me == 0) {
      std::printf("all ranks are here\n");
      std::fflush(stdout);
    }
    rt.world.barrier();
    if (me == last) kill(getpid(), SIGKILL);
    rt.world.barrier();
  } else if (mode == "signal") {
    if (me == 0) kill(getpid(), SIGUSR1);
    while (rt.world.all_reduce(rt.signal->load(), Reduce::Max) == 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    if (me == 0) std::printf("stopped by %ld\n", long(rt.signal->load()));
    rt.world.barrier();
  } else if (mode == "signals") {
    if (me == 0) {  // the second only when the first has arrived: pending signals of one kind merge
      kill(getpid(), SIGTERM);
      while (rt.signal->load() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      kill(getpid(), SIGTERM);
      std::this_thread::sleep_for(std::chrono::seconds(5));
    }
    rt.world.barrier();
  }
}

int main(int argc, char** argv) {
  std::string mode;
  return run_main(
      argc, argv,
      [&](std::vector<std::string> args, int) {
        mode = args.empty() ? "" : args[0];
        if (mode == "help") return RunPlan{.exit_code = 0, .text = "usage\n"};
        if (mode == "plan") throw UserError("unknown option --x");
        return RunPlan{args.size() > 1 ? std::atoi(args[1].c_str()) : 0, 0, {}};
      },
      [&](Runtime& rt) { rank_main(rt, mode); });
}
