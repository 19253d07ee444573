// run_main and run_ranks: the plan, the rank threads, and how a run ends when ranks fail.
#include "dist/runtime.h"

#include <malloc.h>
#include <signal.h>
#include <sys/prctl.h>

#include <array>
#include <future>
#include <numeric>
#include <thread>

#include "dist/comm_group.h"
#include "dist/cpus.h"
#include "tensor/device.h"
#include "tensor/parallel.h"

namespace switchyard::dist {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using RankMain = std::function<void(Runtime&)>;

// The stop flag. A signal handler can reach nothing but a static; no computation reads it, the trainer sends
// it along with the numbers of a step.
std::atomic<int> received_signal{0};

void on_signal(int number) {
  if (received_signal.exchange(number) != 0) _exit(128 + number);  // the second: at once
}

// Written at once: lines of several processes do not mix.
void print_line(const std::string& text) {
  std::fflush(nullptr);
  std::fputs((text + "\n").c_str(), stderr);
}

int exit_code(const std::exception& e) { return dynamic_cast<const UserError*>(&e) ? 2 : 1; }

// The device of a rank. Ranks take the GPUs of their machine in turn; more ranks than GPUs share them.
Device take_device(const std::string& wanted, int rank) {
  const int gpus = wanted == "cpu" ? 0 : cuda::device_count();
  user_check(gpus > 0 || wanted != "cuda",
             concat("--device cuda: no usable GPU here (CUDA in this binary: ", cuda::version(),
                    "); use --device auto or cpu"));
  if (gpus == 0) return Device::CPU;
  cuda::use_device(rank % gpus);
  return Device::CUDA;
}

struct Failure {
  int rank;
  std::string what;
  int exit_code;
  std::exception_ptr error;
};

// Runs the ranks that this process carries. After a failure the others get half a second to notice, then
// on_failure is told; it does not return.
void run_crew(MpiBridge& bridge, const RunPlan& plan, const Machine& machine,
              const RankMain& rank_main,
              const std::function<void(const std::vector<Failure>&)>& on_failure) {
  const Blocks blocks{plan.ranks, bridge.processes};
  const int ranks_here = blocks.first_rank(machine.node_processes), threads = requested_threads();
  Runtime common;
  common.topology = {plan.ranks, plan.ranks_per_node
                                     ? plan.ranks_per_node
                                     : blocks.first_rank(machine.first_node_processes)};
  common.processes = bridge.processes;
  common.process = bridge.process;
  common.cpus = machine.cpus;
  common.threads_per_rank = threads ? threads : std::max(1, machine.node_cpus / ranks_here);
  common.signal = &received_signal;
  const bool oversubscribed = ranks_here * common.threads_per_rank > machine.node_cpus;
  const auto world =
      std::make_shared<World>(blocks, bridge.process, common.topology, bridge, oversubscribed);
  std::vector<int> members(plan.ranks);
  std::iota(members.begin(), members.end(), 0);
  const auto group = CommGroup::of(world, members);
  const auto run_rank = [&](int rank) {
    try {
      prctl(PR_SET_TIMERSLACK, 1000, 0, 0, 0);  // ns: short sleeps while waiting stay short
      set_num_threads(common.threads_per_rank);
      set_float_mode();
      Runtime runtime = common;
      runtime.device = take_device(plan.device, rank);
      runtime.world = Comm(group, rank, std::make_shared<CommMeter>());
      if (runtime.device == Device::CUDA)
        cuda::set_watch([world] {
          if (world->poisoned) throw Aborted("another rank failed");
        });
      if (plan.device != "cpu") runtime.gpu_way = open_gpu_ways(runtime.world, runtime.device);
      runtime.world.meter().reset();
      rank_main(runtime);
    } catch (...) {
      world->poisoned = true;
      throw;
    }
  };
  const int first = blocks.first_rank(bridge.process);
  std::vector<std::future<void>> ranks;
  for (int i = 0; i < blocks.size(bridge.process); ++i)
    ranks.push_back(std::async(std::launch::async, run_rank, first + i));

  auto deadline = Clock::time_point::max();
  std::vector<Failure> failures;
  for (size_t i = 0; i < ranks.size(); ++i) {
    std::future_status status;
    while ((status = ranks[i].wait_for(10ms)) != std::future_status::ready &&
           Clock::now() < deadline) {
      if (world->poisoned) deadline = std::min(deadline, Clock::now() + 500ms);
    }
    if (status != std::future_status::ready) continue;
    try {
      ranks[i].get();
    } catch (const Aborted&) {
      // The rank that failed says why.
    } catch (const std::exception& e) {
      failures.push_back({first + int(i), e.what(), exit_code(e), std::current_exception()});
    }
  }
  if (!failures.empty()) on_failure(failures);
}

// Says why ranks of this process failed and ends all processes. Several processes may fail at once, mostly
// for the same reason: they speak in the order of their numbers, and the first to speak ends the others.
[[noreturn]] void give_up(const std::vector<Failure>& failures, MpiBridge& bridge, int ranks) {
  const Failure& first = failures[0];
  signal(SIGTERM, SIG_DFL);  // by it mpirun ends the processes that wait here
  if (bridge.process > 0) std::this_thread::sleep_for(300ms + 50ms * std::min(bridge.process, 20));
  // A mistake of the user that all ranks find is told without a rank; process 0 speaks for them.
  const auto same = std::count_if(failures.begin(), failures.end(),
                                  [&](const Failure& f) { return f.what == first.what; });
  const bool everywhere = first.exit_code == 2 && bridge.process == 0 &&
                          same == Blocks{ranks, bridge.processes}.size(0);
  print_line(everywhere ? first.what : concat("[rank ", first.rank, "/", ranks, "] ", first.what));
  bridge.abort(first.exit_code);  // a rank may still be deep in a computation
}

// Asks `plan` in every process. An exit code in a result ends all processes alike, and the first of those
// that want to end says why.
RunPlan agree_on_plan(MpiBridge& bridge, const std::vector<std::string>& args,
                      const std::function<RunPlan(std::vector<std::string>, int)>& plan) {
  const int processes = bridge.processes;
  RunPlan mine;
  std::string error;
  try {
    mine = plan(args, processes);
    user_check(mine.ranks >= 0, concat("--ranks ", mine.ranks, ": expected at least 1"));
    if (mine.ranks == 0) mine.ranks = processes;
    user_check(mine.ranks >= processes,
               concat("--ranks ", mine.ranks, " is less than the ", processes,
                      " processes: start at most as many processes as ranks"));
    user_check(mine.ranks_per_node >= 0 && mine.ranks_per_node <= mine.ranks,
               concat("--ranks-per-node ", mine.ranks_per_node, ": expected 1 to ", mine.ranks));
    requested_threads();
  } catch (const std::exception& e) {
    error = e.what();
    mine.exit_code = exit_code(e);
  }
  const std::array<int, 2> answer{mine.exit_code.value_or(-1), mine.ranks};
  const auto all = bridge.all_gather(answer);
  const auto stop = std::find_if(all.begin(), all.end(), [](auto& a) { return a[0] >= 0; });
  if (stop == all.end()) {
    check(answer == all[0], "the processes were started with different --ranks");
    return mine;
  }
  const auto process = stop - all.begin();
  if (process == bridge.process) {
    std::fputs(mine.text.c_str(), stdout);
    if (!error.empty()) print_line(process ? concat("[process ", process, "] ", error) : error);
  }
  mine.exit_code = (*stop)[0];
  return mine;
}

}  // namespace

bool Runtime::leads_process() const {
  return world.rank() == Blocks{world.size(), processes}.first_rank(process);
}
int Runtime::process_of(int rank) const { return Blocks{world.size(), processes}.process_of(rank); }

int run_main(int argc, char** argv,
             const std::function<RunPlan(std::vector<std::string>, int)>& plan,
             const RankMain& rank_main) {
  // A fixed limit: freed big blocks go back to the system, resident memory stays level
  mallopt(M_MMAP_THRESHOLD, 128 << 10);
  MpiBridge bridge;
  try {
    bridge.start();
    for (int number : {SIGTERM, SIGUSR1, SIGUSR2}) signal(number, on_signal);  // after MPI's own
    const Machine machine = look_around(bridge);
    const RunPlan agreed =
        agree_on_plan(bridge, std::vector<std::string>(argv + 1, argv + argc), plan);
    if (agreed.exit_code) return *agreed.exit_code;
    run_crew(bridge, agreed, machine, rank_main, [&](const std::vector<Failure>& failures) {
      give_up(failures, bridge, agreed.ranks);
    });
    return 0;
  } catch (const std::exception& e) {  // of this file's own steps; ranks' errors end in give_up
    print_line(e.what());
    bridge.abort(exit_code(e));
  }
}

void run_ranks(int ranks, const RankMain& fn, int ranks_per_node, const std::string& device) {
  MpiBridge alone;
  run_crew(alone, RunPlan{ranks, ranks_per_node, {}, "", device}, look_around(alone), fn,
           [](const std::vector<Failure>& failures) { std::rethrow_exception(failures[0].error); });
}

std::string host_name() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  return name;
}

}  // namespace switchyard::dist
