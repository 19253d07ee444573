// Machine: how the processes of a run sit on nodes, and how many CPUs each may use: CPU masks and limits of the
// operating system. Private to dist/.
#pragma once
#include <sched.h>
#include <unistd.h>

#include <cmath>
#include <fstream>

#include "dist/mpi_bridge.h"
#include "dist/runtime.h"

namespace switchyard::dist {

struct Machine {
  int node_processes = 0;        // on this process's node
  int first_node_processes = 0;  // on the node of process 0
  int node_cpus = 1;             // of this process's node, for all its processes together
  int cpus = 1;                  // usable by this process
};

inline int usable(const cpu_set_t& cpus) {
  int count = CPU_COUNT(&cpus);
  std::ifstream quota_file("/sys/fs/cgroup/cpu.max");  // "max 100000" or "200000 100000"
  double quota = 0, period = 0;
  if (quota_file >> quota >> period) count = std::min(count, int(std::ceil(quota / period)));
  return std::max(1, count);
}

// Collective over processes. Under mpirun, a process may be bound to one core: its parent's mask says what
// mpirun itself may use. When the process has less than its share of that, it takes all of it.
inline Machine look_around(MpiBridge& bridge) {
  struct Neighbour {  // what a process tells the others
    size_t host;      // hash of its name
    cpu_set_t cpus;   // that it knows of
  };
  cpu_set_t own{}, parent{};
  sched_getaffinity(0, sizeof own, &own);
  Neighbour me{std::hash<std::string>()(host_name()), own};
  if (bridge.by_mpirun && sched_getaffinity(getppid(), sizeof parent, &parent) == 0)
    CPU_OR(&me.cpus, &own, &parent);

  Machine m;
  cpu_set_t node = me.cpus;
  const std::vector<Neighbour> all = bridge.all_gather(me);
  for (const Neighbour& n : all) {
    m.first_node_processes += n.host == all[0].host;
    if (n.host != me.host) continue;
    CPU_OR(&node, &node, &n.cpus);
    ++m.node_processes;
  }
  if (bridge.by_mpirun && CPU_COUNT(&own) < CPU_COUNT(&node) / m.node_processes) {
    sched_setaffinity(0, sizeof node, &node);  // a refusal by the system leaves the narrower mask
    sched_getaffinity(0, sizeof own, &own);
  }
  m.node_cpus = usable(node);
  m.cpus = usable(own);
  return m;
}

inline int requested_threads() {  // OMP_NUM_THREADS; 0 = not set
  const char* text = std::getenv("OMP_NUM_THREADS");
  if (!text || !*text) return 0;
  const int threads = std::atoi(text);  // the first of a list
  user_check(
      threads >= 1 && threads <= 1024,
      concat("OMP_NUM_THREADS is '", text, "'; expected a number of threads from 1 to 1024"));
  return threads;
}

}  // namespace switchyard::dist
