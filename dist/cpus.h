// Which CPUs a process may use, and how many threads that gives each rank. Private to dist/, but for host_name.
#pragma once
#include <string>

namespace switchyard::dist {

// The CPUs that a process is bound to, one character '0' or '1' each. pid 0: this process.
std::string cpu_mask(int pid);
void bind_to(const std::string& mask);  // this process
int count_cpus(const std::string& mask);
std::string join_masks(std::string a, const std::string& b);
int cgroup_cpus();  // limit by quota; a large number where there is none
std::string host_name();
int requested_threads();  // OMP_NUM_THREADS; 0 = not set

}  // namespace switchyard::dist
