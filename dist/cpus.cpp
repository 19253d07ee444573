// CPU masks and limits of the operating system.
#include "dist/cpus.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>

#include "tensor/check.h"

namespace switchyard::dist {

std::string cpu_mask(int pid) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(pid, sizeof set, &set) != 0) return "";
  std::string mask(CPU_SETSIZE, '0');
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) mask[cpu] = '1';
  }
  return mask;
}

// A refusal by the system leaves the narrower mask, which cpu_mask then shows.
void bind_to(const std::string& mask) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int cpu = 0; cpu < int(mask.size()); ++cpu) {
    if (mask[cpu] == '1') CPU_SET(cpu, &set);
  }
  sched_setaffinity(0, sizeof set, &set);
}

int count_cpus(const std::string& mask) {
  return std::max<int>(1, std::count(mask.begin(), mask.end(), '1'));
}

std::string join_masks(std::string a, const std::string& b) {
  a.resize(std::max(a.size(), b.size()), '0');
  for (size_t i = 0; i < b.size(); ++i) {
    if (b[i] == '1') a[i] = '1';
  }
  return a;
}

int cgroup_cpus() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");  // "max 100000" or "200000 100000"
  double quota = 0, period = 0;
  if (file >> quota >> period && period > 0) return std::max(1, int(std::ceil(quota / period)));
  return std::numeric_limits<int>::max();
}

std::string host_name() {
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  return name;
}

int requested_threads() {
  const char* text = std::getenv("OMP_NUM_THREADS");
  if (!text || !*text) return 0;
  char* end = nullptr;
  const long threads = std::strtol(text, &end, 10);
  user_check(
      threads >= 1 && threads <= 1024 && (*end == '\0' || *end == ','),
      concat("OMP_NUM_THREADS is '", text, "'; expected a number of threads from 1 to 1024"));
  return int(threads);
}

}  // namespace switchyard::dist
