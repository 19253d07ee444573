// run_main and run_ranks. When ranks fail, process 0 speaks for all: the others send it a report, it prints
// one line and ends everybody with MPI_Abort. A process that gets no answer prints and aborts by itself.
#include "dist/runtime.h"

#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <sstream>

#include "dist/cpus.h"
#include "dist/crew.h"

namespace switchyard::dist {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// The stop flag. A signal handler can reach nothing but a static; no computation reads it, the trainer sends
// it along with the numbers of a step.
std::atomic<int> received_signal{0};

void on_signal(int number) {
  int none = 0;
  if (!received_signal.compare_exchange_strong(none, number))
    _exit(128 + number);  // the second: at once
}

void install_signal_handlers() {
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (int number : {SIGTERM, SIGUSR1, SIGUSR2}) sigaction(number, &action, nullptr);
}

// --- How a process ended ------------------------------------------------------------------------------

struct Report {
  int failures =
      0;  // ranks that failed with this text; 0 = the process ended well, or was only told to end
  int rank = 0;  // the lowest of them
  bool user = false;
  std::string what;
};

// The first failure, and how many ranks had the same one.
Report summarize(const std::vector<Failure>& failures) {
  Report r;
  for (const Failure& f : failures) {
    if (r.failures == 0) r = {0, f.rank, f.user, f.what};
    if (f.what != r.what) continue;
    ++r.failures;
    r.rank = std::min(r.rank, f.rank);
  }
  return r;
}

std::string to_text(const Report& r) {
  return concat(r.failures, " ", r.rank, " ", r.user, " ", r.what);
}

Report parse_report(const std::string& text) {
  Report r;
  std::istringstream in(text);
  in >> r.failures >> r.rank >> r.user;
  std::getline(in.ignore(1), r.what, '\0');
  return r;
}

// One line, written at once: lines of several processes do not mix.
void print_line(const std::string& text) {
  std::fflush(nullptr);
  const std::string line = text + "\n";
  if (write(STDERR_FILENO, line.data(), line.size()) < 0) return;  // nobody listens
}

void print(const Report& r, int ranks) {
  const bool everywhere =
      r.user && r.failures == ranks;  // a mistake of the user that every rank found
  print_line(everywhere ? r.what : concat("[rank ", r.rank, "/", ranks, "] ", r.what));
}

int exit_code(const Report& r) { return r.user ? 2 : 1; }

// Waits until the ranks here have ended; after a failure the others get half a second to notice.
void wait_for_crew(Crew& crew) {
  std::optional<Clock::time_point> deadline;
  while (!crew.ended() && (!deadline || Clock::now() < *deadline)) {
    crew.wait(deadline ? 20ms : 1000ms);
    if (!deadline && !crew.failures().empty()) deadline = Clock::now() + 500ms;
  }
}

int end_as_follower(World& world, Crew& crew) {
  wait_for_crew(crew);
  const Report own = summarize(crew.failures());
  world.bridge->report(to_text(own));
  if (own.failures == 0) return 0;
  std::this_thread::sleep_for(3s);  // process 0 ends us meanwhile
  print(own, world.blocks.ranks);
  world.bridge->abort(exit_code(own));
}

int end_as_leader(World& world, Crew& crew) {
  std::vector<Report> failed;
  std::optional<Clock::time_point> deadline;
  bool own_reported = false;
  int reports = 0;
  while (reports < world.blocks.processes && (!deadline || Clock::now() < *deadline)) {
    crew.wait(own_reported || !crew.failures().empty() ? 2ms : 10ms);
    if (own_reported) std::this_thread::sleep_for(2ms);
    const bool failing = !crew.failures().empty();
    if (!own_reported && (crew.ended() || failing)) {
      wait_for_crew(crew);
      own_reported = true;
      ++reports;
      if (failing) failed.push_back(summarize(crew.failures()));
    }
    while (const auto text = world.bridge->next_report()) {
      ++reports;
      if (Report r = parse_report(*text); r.failures) failed.push_back(r);
    }
    if (!failed.empty() && !deadline) {
      world.poison();
      deadline = Clock::now() + 300ms;  // for the reports of those who fail at the same time
    }
  }
  if (failed.empty()) return 0;
  Report all = failed[0];
  for (size_t i = 1; i < failed.size(); ++i) {
    if (failed[i].what != all.what) continue;
    all.failures += failed[i].failures;
    all.rank = std::min(all.rank, failed[i].rank);
  }
  print(all, world.blocks.ranks);
  world.bridge->abort(exit_code(all));
}

int end_alone(World& world, Crew& crew) {
  wait_for_crew(crew);
  const Report own = summarize(crew.failures());
  if (own.failures == 0) return 0;
  print(own, world.blocks.ranks);
  if (!crew.ended()) std::_Exit(exit_code(own));  // a rank is deep in a computation
  return exit_code(own);
}

// --- Start ----------------------------------------------------------------------------------------------

struct Machine {
  int processes = 1, process = 0;
  std::vector<std::string> hosts;  // of each process
  int node_cpus = 1;               // of this process's node, for all its processes together
  int cpus = 1;                    // usable by this process
  int neighbours(int of) const { return int(std::count(hosts.begin(), hosts.end(), hosts[of])); }
};

// Under mpirun, a process may be bound to one core: its parent's mask says what mpirun itself may use.
// When the process has less than its share of that, it takes all of it.
Machine look_around(MpiBridge* bridge) {
  Machine m;
  std::string mask = cpu_mask(0);
  const bool bound_by_mpirun = bridge && MpiBridge::launched_by_mpirun();
  std::string node_mask = bound_by_mpirun ? join_masks(mask, cpu_mask(getppid())) : mask;
  m.hosts = {host_name()};
  if (bridge) {
    m.processes = bridge->processes();
    m.process = bridge->process();
    m.hosts = bridge->exchange(m.hosts[0]);
    const std::vector<std::string> masks = bridge->exchange(node_mask);
    for (int p = 0; p < m.processes; ++p) {
      if (m.hosts[p] == m.hosts[m.process]) node_mask = join_masks(node_mask, masks[p]);
    }
    const int share = count_cpus(node_mask) / m.neighbours(m.process);
    if (bound_by_mpirun && count_cpus(mask) < share) {
      bind_to(node_mask);
      mask = cpu_mask(0);
    }
  }
  m.node_cpus = std::min(count_cpus(node_mask), cgroup_cpus());
  m.cpus = std::min(count_cpus(mask), cgroup_cpus());
  return m;
}

// Asks `plan` in process 0 first, so that --help and mistakes are printed once, then in the others. An exit
// code in the result ends all processes alike.
RunPlan agree_on_plan(MpiBridge* bridge, const Machine& m, const std::vector<std::string>& args,
                      const std::function<RunPlan(std::vector<std::string>, int)>& plan) {
  RunPlan mine;
  std::string error;
  const auto ask = [&] {
    try {
      mine = plan(args, m.processes);
      user_check(mine.ranks >= 0, concat("--ranks ", mine.ranks, ": expected at least 1"));
      if (mine.ranks == 0) mine.ranks = m.processes;
      user_check(mine.ranks >= m.processes,
                 concat("--ranks ", mine.ranks, " is less than the ", m.processes,
                        " processes: start at most as many processes as ranks"));
      user_check(mine.ranks_per_node >= 0 && mine.ranks_per_node <= mine.ranks,
                 concat("--ranks-per-node ", mine.ranks_per_node, ": expected 1 to ", mine.ranks));
      requested_threads();
    } catch (const UserError& e) {
      mine.exit_code = 2;
      error = e.what();
    } catch (const std::exception& e) {
      mine.exit_code = 1;
      error = e.what();
    }
  };
  const auto status = [&] {
    return concat(mine.exit_code.value_or(0), " ", mine.exit_code.has_value(), " ", mine.ranks);
  };
  if (m.process == 0) ask();
  for (int round = 0; round < 2; ++round) {
    if (round == 1 && m.process != 0) ask();
    const std::vector<std::string> all =
        bridge ? bridge->exchange(status()) : std::vector{status()};
    for (int p = 0; p < (round == 0 ? 1 : m.processes); ++p) {
      int code = 0, stop = 0, ranks = 0;
      std::istringstream(all[p]) >> code >> stop >> ranks;
      if (stop) {
        if (p == m.process && !error.empty())
          print_line(p ? concat("[process ", p, "] ", error) : error);
        mine.exit_code = code;
        return mine;
      }
      if (round == 1)
        check(ranks == mine.ranks, "the processes were started with different --ranks");
    }
    if (!bridge) break;
  }
  return mine;
}

int run_planned(const std::shared_ptr<MpiBridge>& bridge, const Machine& m, const RunPlan& plan,
                const std::function<void(Runtime&)>& rank_main) {
  const Blocks blocks{plan.ranks, m.processes};
  const auto ranks_on_node_of = [&](int process) {
    int ranks = 0;
    for (int p = 0; p < m.processes; ++p) {
      if (m.hosts[p] == m.hosts[process]) ranks += blocks.size(p);
    }
    return ranks;
  };
  const int ranks_here = ranks_on_node_of(m.process), threads = requested_threads();
  Runtime common;
  common.topology = {plan.ranks, plan.ranks_per_node ? plan.ranks_per_node : ranks_on_node_of(0)};
  common.processes = m.processes;
  common.process = m.process;
  common.cpus = m.cpus;
  common.threads_per_rank = threads ? threads : std::max(1, m.node_cpus / ranks_here);
  common.signal = &received_signal;
  const auto world =
      make_world(blocks, m.process, common.topology, m.processes > 1 ? bridge : nullptr,
                 ranks_here * common.threads_per_rank > m.node_cpus);
  Crew crew(world, common, rank_main);
  int code = 0;
  if (m.processes == 1) code = end_alone(*world, crew);
  else if (m.process == 0) code = end_as_leader(*world, crew);
  else code = end_as_follower(*world, crew);
  crew.join();
  return code;
}

}  // namespace

bool Runtime::leads_process() const {
  return world.rank() == Blocks{world.size(), processes}.first_rank(process);
}
int Runtime::process_of(int rank) const { return Blocks{world.size(), processes}.process_of(rank); }

int run_main(int argc, char** argv,
             const std::function<RunPlan(std::vector<std::string>, int)>& plan,
             const std::function<void(Runtime&)>& rank_main) {
  mallopt(M_MMAP_THRESHOLD,
          128 << 10);  // fixed: freed big blocks go back, resident memory stays level
  std::shared_ptr<MpiBridge> bridge;
  int code = 1;
  try {
    if (MpiBridge::launched()) bridge = std::make_shared<MpiBridge>(argc, argv);
    install_signal_handlers();  // after MPI's own
    const Machine machine = look_around(bridge.get());
    const RunPlan agreed =
        agree_on_plan(bridge.get(), machine, std::vector<std::string>(argv + 1, argv + argc), plan);
    if (agreed.exit_code && machine.process == 0) std::fputs(agreed.text.c_str(), stdout);
    code = agreed.exit_code ? *agreed.exit_code : run_planned(bridge, machine, agreed, rank_main);
    if (bridge) bridge->finalize();
  } catch (const std::exception& e) {  // of this file's own steps; ranks' errors end in their Crew
    print_line(e.what());
    code = dynamic_cast<const UserError*>(&e) ? 2 : 1;
    if (bridge) bridge->abort(code);
  }
  return code;
}

void run_ranks(int ranks, const std::function<void(Runtime&)>& fn, int ranks_per_node) {
  user_check(ranks >= 1, concat("run_ranks: ", ranks, " ranks"));
  Runtime common;
  common.topology = {ranks, ranks_per_node ? ranks_per_node : ranks};
  common.cpus = std::min(count_cpus(cpu_mask(0)), cgroup_cpus());
  common.signal = &received_signal;
  if (const int threads = requested_threads()) common.threads_per_rank = threads;
  const auto world = make_world({ranks, 1}, 0, common.topology, nullptr,
                                ranks * common.threads_per_rank > common.cpus);
  Crew crew(world, common, fn);
  crew.join();
  if (const auto failures = crew.failures(); !failures.empty())
    std::rethrow_exception(failures[0].error);
}

std::string mpi_version() { return MpiBridge::version(); }

}  // namespace switchyard::dist
