// Machine: the processes of a run, how they sit on nodes, and how many CPUs each may use.
// Private to dist/, but for host_name.
#pragma once
#include <string>

namespace switchyard::dist {

class MpiBridge;

struct Machine {
  int processes = 1, process = 0;
  int node_processes = 0;        // on this process's node
  int first_node_processes = 0;  // on the node of process 0
  int node_cpus = 1;             // of this process's node, for all its processes together
  int cpus = 1;                  // usable by this process
};
// Collective over processes; bridge may be null. Also widens this process's CPU mask where mpirun bound it
// to less than its share.
Machine look_around(MpiBridge* bridge);

std::string host_name();
int requested_threads();  // OMP_NUM_THREADS; 0 = not set

}  // namespace switchyard::dist
